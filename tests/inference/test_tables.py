"""Answers as text: every format, whatever stands in names and paths."""

import csv
import io
import json

import numpy as np
import pytest

from ignite_vision.inference.answers import Answer
from ignite_vision.inference.tables import FORMATS, row_of

CLASSES = ("ant", "bee", "cow")
ODD = 'a,"b"\n\r\t\x1b[31m;\udcff é.jpg'


def answer(path, *probabilities):
    return Answer(path, np.array(probabilities, dtype=np.float64))


ANSWERS = [
    answer("1.jpg", 0.2, 0.7, 0.1),
    Answer("2.jpg", None, "cannot read image: cut off"),
    answer(ODD, 0.3, 0.3, 0.4),
]


def text(form, answers=ANSWERS, classes=CLASSES, top=1, threshold=None):
    return "".join(FORMATS[form]((row_of(a, classes, top, threshold) for a in answers), classes, top))


def records(*arguments, **options):
    return list(csv.reader(io.StringIO(text("csv", *arguments, **options), newline="")))


class TestRows:
    def test_the_most_probable_classes_come_first(self):
        row = row_of(ANSWERS[0], CLASSES, 2, None)
        assert (row.path, row.answer, row.top) == ("1.jpg", "bee", (("bee", 0.7), ("ant", 0.2)))

    def test_more_than_there_are_classes_is_all_of_them(self):
        assert len(row_of(ANSWERS[0], CLASSES, 9, None).top) == 3

    def test_of_equal_ones_the_first_wins_as_everywhere(self):
        assert row_of(answer("x", 0.4, 0.4, 0.2), CLASSES, 1, None).answer == "ant"

    @pytest.mark.parametrize(("threshold", "said"), [(None, "bee"), (0, "bee"), (0.7, "bee"), (0.7001, "unknown")])
    def test_below_the_threshold_the_answer_is_unknown(self, threshold, said):
        row = row_of(ANSWERS[0], CLASSES, 1, threshold)
        assert (row.answer, row.top[0][0]) == (said, "bee")


class TestCsv:
    def test_has_a_header_and_a_record_for_each_image(self):
        assert records() == [
            ["path", "answer", "predicted", "probability", "error"],
            ["1.jpg", "bee", "bee", "0.700000", ""],
            ["2.jpg", "", "", "", "cannot read image: cut off"],
            [ODD, "cow", "cow", "0.400000", ""],
        ]

    def test_has_columns_for_more_classes(self):
        header, first, broken, _ = records(top=2)
        assert header[4:] == ["predicted_2", "probability_2", "error"]
        assert first == ["1.jpg", "bee", "bee", "0.700000", "ant", "0.200000", ""]
        assert len(broken) == len(header)
        assert len({len(record) for record in records(top=9)}) == 1

    def test_class_names_may_be_odd(self):
        assert records(ANSWERS[:1], ("a", ODD, "c"))[1][1] == ODD


class TestJson:
    def test_lines_are_objects(self):
        lines = [json.loads(line) for line in text("jsonl", top=2, threshold=0.5).splitlines()]
        ant, bee = {"class": "ant", "probability": 0.2}, {"class": "bee", "probability": 0.7}
        assert lines[0] == {"path": "1.jpg", "answer": "bee", "top": [bee, ant]}
        assert lines[1] == {"path": "2.jpg", "error": "cannot read image: cut off"}
        assert (lines[2]["path"], lines[2]["answer"]) == (ODD, "unknown")

    @pytest.mark.parametrize("answers", [ANSWERS, ANSWERS[:1], []])
    def test_the_array_holds_the_same(self, answers):
        assert json.loads(text("json", answers)) == [json.loads(line) for line in text("jsonl", answers).splitlines()]
        assert text("json", answers).isascii()


class TestTable:
    def test_has_a_line_for_each_image_with_the_path_last(self):
        lines = text("table", threshold=0.5).splitlines()
        assert lines[0] == "bee       70.0 %  1.jpg"
        assert lines[1] == "error    2.jpg: cannot read image: cut off"
        assert lines[2].startswith("unknown   40.0 %  ")

    def test_names_more_classes(self):
        assert text("table", ANSWERS[:1], top=2).splitlines() == ["bee       70.0 % bee       20.0 % ant      1.jpg"]

    def test_no_control_character_reaches_the_terminal(self):
        for names in (CLASSES, ("a", "\x1b[2J", "c")):
            for top in (1, 3):
                assert all(line.isprintable() for line in text("table", classes=names, top=top).split("\n"))

    def test_long_class_names_are_shortened(self):
        assert max(map(len, text("table", ANSWERS[:1], ("a", "b" * 300, "c")).splitlines())) < 60


@pytest.mark.parametrize("form", FORMATS)
def test_lines_come_as_the_answers_do(form):
    def one_then_fail():
        yield row_of(ANSWERS[0], CLASSES, 1, None)
        raise RuntimeError("asked for too much")

    lines = FORMATS[form](one_then_fail(), CLASSES, 1)
    text = ""
    while "1.jpg" not in text:
        text += next(lines)
