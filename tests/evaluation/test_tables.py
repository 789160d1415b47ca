"""The files of an evaluation say what its numbers say, whatever the names are."""

import csv
import json

import pytest
import torch

from ignite_vision.evaluation.metrics import metrics
from ignite_vision.evaluation.tables import write_results
from tests.helpers.predictions import predictions


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


def test_names_with_commas_quotes_and_odd_bytes_survive(tmp_path):
    odd = ('a,"b"', "bee\udcff")
    found = predictions([0, 1], [0, 1], odd)
    write_results(found, metrics(found, "test"), tmp_path)
    with (tmp_path / "predictions.csv").open(encoding="utf-8", errors="surrogateescape") as file:
        assert [row["class"] for row in csv.DictReader(file)] == list(odd)


def test_metrics_json_is_json_even_where_the_loss_is_no_number(tmp_path):
    found = predictions([0, 1, 2], [0, 1, 2])
    found.logits[0, 0] = torch.nan
    write_results(found, metrics(found, "test"), tmp_path)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)["loss"] is None
