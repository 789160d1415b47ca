"""The files of results: whole, plain, and last the one that says that there are results."""

import csv
import json
import math

import pytest
import torch

from ignite_vision.errors import NOT_SAVED, UserError
from ignite_vision.evaluation import tables
from ignite_vision.evaluation.coverage import Fitted
from ignite_vision.evaluation.metrics import metrics
from ignite_vision.evaluation.predictions import Predictions
from ignite_vision.evaluation.tables import json_plain, prediction_rows, write_results


def predictions(targets, labels, classes=("ant", "bee", "cow")):
    """Return sure predictions of these labels."""
    logits = torch.nn.functional.one_hot(torch.tensor(labels), len(classes)).float() * 9
    return Predictions(tuple(f"{i}.jpg" for i in range(len(targets))), torch.tensor(targets), logits, tuple(classes))


def test_the_files_say_what_the_numbers_say(tmp_path):
    found = predictions([0, 1, 2], [0, 1, 0])
    write_results(found, metrics(found, "test"), tmp_path)
    rows = list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert [(row["path"], row["class"], row["predicted"], row["correct"]) for row in rows] == [
        ("0.jpg", "ant", "ant", "1"),
        ("1.jpg", "bee", "bee", "1"),
        ("2.jpg", "cow", "ant", "0"),
    ]
    assert float(rows[0]["probability"]) == pytest.approx(0.99975, abs=1e-4)
    assert [row["class"] for row in csv.DictReader((tmp_path / "per_class.csv").read_text().splitlines())] == [
        "ant",
        "bee",
        "cow",
    ]
    assert json.loads((tmp_path / "metrics.json").read_text())["n"] == 3


def test_the_next_classes_that_the_model_thinks_of_stand_beside_the_first(tmp_path):
    logits = torch.tensor([[0.0, 4, 2, 3, 1, -1], [9.0, 0, 0, 0, 0, 0]])
    found = Predictions(("a", "b"), torch.tensor([2, 0]), logits, tuple("uvwxyz"))
    write_results(found, metrics(found, "test"), tmp_path)
    first, second = csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines())
    assert [first[name] for name in ("predicted", "top2", "top3", "top4", "top5")] == ["v", "x", "w", "y", "u"]
    assert float(first["p_class"]) == pytest.approx(found.probabilities[0, 2].item(), abs=1e-6)
    assert [second[f"top{k}"] for k in range(2, 6)] == ["v", "w", "x", "y"]


def test_of_two_classes_there_is_one_next():
    assert next(prediction_rows(predictions([0], [0], ("ant", "bee"))))[-2:] == ("p_class", "top2")


def test_how_sure_answers_do_is_a_table_too(tmp_path):
    found = predictions([0, 1, 2], [0, 1, 0])
    numbers = metrics(found, "test", 0, Fitted(9, ((1.0, 0.0), (0.9, 0.9999))))
    write_results(found, numbers, tmp_path)
    rows = list(csv.DictReader((tmp_path / "coverage.csv").read_text().splitlines()))
    assert [(row["share"], row["threshold"], row["n"]) for row in rows] == [("1.0", "0.0", "3"), ("0.9", "0.9999", "0")]
    assert [row["accuracy"] for row in rows] == [str(2 / 3), ""]


def test_a_class_has_its_interval_in_the_table(tmp_path):
    found = predictions([0, 0], [0, 1], ("ant", "bee"))
    write_results(found, metrics(found, "test"), tmp_path)
    ant, bee = csv.DictReader((tmp_path / "per_class.csv").read_text().splitlines())
    assert float(ant["low"]) < 0.5 < float(ant["high"])
    assert ant["roc_auc"] == bee["high"] == ""


def test_names_with_commas_quotes_and_odd_bytes_survive(tmp_path):
    odd = ('a,"b"', "bee\udcff")
    found = predictions([0, 1], [0, 1], odd)
    write_results(found, metrics(found, "test"), tmp_path)
    with (tmp_path / "predictions.csv").open(encoding="utf-8", errors="surrogateescape") as file:
        assert [row["class"] for row in csv.DictReader(file)] == list(odd)


def test_metrics_are_json_even_if_the_loss_is_not_a_number(tmp_path):
    found = predictions([0, 1], [0, 1])
    found.logits[0, 0] = math.nan
    write_results(found, metrics(found, "test"), tmp_path)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    numbers = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    assert numbers["loss"] is None
    assert json_plain({"a": math.inf, "b": 1.5, "c": "nan"}) == {"a": None, "b": 1.5, "c": "nan"}


def test_metrics_are_written_last(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(tables, "write_atomically", lambda path, text: written.append(path.name))
    found = predictions([0], [0])
    write_results(found, metrics(found, "test"), tmp_path)
    assert sorted(written[:-1]) == ["confusion.csv", "coverage.csv", "per_class.csv", "predictions.csv"]
    assert written[-1] == "metrics.json"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    found = predictions([0], [0])
    with pytest.raises(UserError, match="the results cannot be written: .*run the same command again") as failure:
        write_results(found, metrics(found, "test"), tmp_path / "file" / "results")
    assert failure.value.code == NOT_SAVED
