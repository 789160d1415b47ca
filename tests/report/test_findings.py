"""What a reader is told first, and when."""

import pytest

from ignite_vision.evaluation.label_errors import Suspect
from ignite_vision.report.confusions import Pair
from ignite_vision.report.findings import MOST, findings
from tests.helpers.reports import row

GOOD = {
    "n": 1000,
    "accuracy": 0.9,
    "intervals": {"accuracy": [0.88, 0.92]},
    "baseline": {"class": "ant", "accuracy": 0.4, "chance": 0.33},
    "calibration": {"after": {"ece": 0.01}, "ece_if_perfect": {"mean": 0.01, "p95": 0.02}},
    "twins": None,
    "per_class": {"ant": {"n": 9, "accuracy": 0.9, "interval": [0.6, 0.98]}, "bee": {"n": 0}},
}
ROWS = [row(1, 0.7), row(2, 0.8, best=True)]


def texts(numbers=None, rows=ROWS, pairs=(), suspects=(), check=None):
    return [(f.level, f.text) for f in findings({**GOOD, **(numbers or {})}, rows, pairs, suspects, check)]


def test_a_good_run_is_told_that_its_confidence_can_be_believed_and_nothing_else():
    ((level, text),) = texts()
    assert level == "ok"
    assert "can be believed" in text


@pytest.mark.parametrize(
    ("numbers", "level", "words"),
    [
        ({"twins": {"in_train": 3, "accuracy_without": 0.85}}, "bad", "3 test images have a near-identical twin"),
        ({"twins": {"in_train": 1, "accuracy_without": 0.9}}, "warn", "1 test image has a near-identical twin"),
        ({"twins": {"in_train": 9, "accuracy_without": None}}, "bad", "all of them"),
        ({"baseline": {"class": "ant", "accuracy": 0.89, "chance": 0.1}}, "bad", "no better than no model"),
        ({"intervals": {"accuracy": [0.8, 0.95]}}, "note", "more of them would tell"),
        ({"calibration": {"after": {"ece": 0.1}, "ece_if_perfect": {"mean": 0.01, "p95": 0.02}}}, "warn", "believed"),
        ({"per_class": {"bee": {"n": 90, "accuracy": 0.5, "interval": [0.4, 0.6]}}}, "warn", "weakest class: “bee”"),
    ],
)
def test_numbers_have_consequences(numbers, level, words):
    if words == "no better than no model":
        words = "not shown to be better than no model"
    assert any(found == level and words in text for found, text in texts(numbers))


def test_older_numbers_without_intervals_say_less_and_nothing_wrong():
    older = dict.fromkeys(("intervals", "baseline", "calibration", "twins"))
    assert texts(older) == []
    assert findings({"n": 9, "accuracy": 0.5, "per_class": {}}, ROWS, [], [], None) == []


def test_training_that_knows_its_images_by_heart_or_ends_too_early_is_told():
    by_heart = [row(1, 0.5), row(2, 0.6, best=True, train_accuracy=0.99)]
    assert "knows its training images" in texts(rows=by_heart)[0][1]
    improving = [row(1, 0.5), row(2, 0.6), row(3, 0.75, best=True)]
    assert "more epochs may help" in texts(rows=improving)[0][1]
    stopped = [row(1, 0.5), row(2, 0.6), row(3, 0.75, best=True, stopped=True)]
    assert len(texts(rows=stopped)) == 1


def test_suspects_are_counted():
    one = Suspect("a", "val", 0, "ant", "bee", 0.01, 0.9)
    assert "1 image may carry the wrong label:" in texts(suspects=[one])[0][1]
    assert "2 images may carry the wrong label:" in texts(suspects=[one, one])[0][1]


def test_a_pair_that_is_hardly_confused_is_not_told():
    assert len(texts(pairs=[Pair("ant", "bee", 2, 10, 1, 1)])) == 1
    assert "are confused most: 9 of their 40 images" in texts(pairs=[Pair("ant", "bee", 9, 40, 5, 4)])[0][1]


def test_what_must_be_fixed_comes_first_and_five_are_enough():
    check = {
        "findings": [{"level": "look", "message": "dark"}, {"level": "must", "message": "empty"}, {"level": "note"}]
    }
    found = texts(
        {"twins": {"in_train": 1, "accuracy_without": 0.9}},
        rows=[row(1), row(2, 0.6, best=True, train_accuracy=0.99)],
        pairs=[Pair("ant", "bee", 9, 40, 5, 4)],
        suspects=[Suspect("a", "val", 0, "ant", "bee", 0.01, 0.9)],
        check=check,
    )
    assert len(found) == MOST
    assert found[0] == ("bad", "empty")
    assert found[1] == ("warn", "dark")
