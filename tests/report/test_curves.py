"""The curves of a run: a well-formed picture, whatever the numbers and the names are."""

import math
import xml.etree.ElementTree as ET

import pytest

from ignite_vision.report.curves import LEFT, WIDTH, extent, nice_ticks, panel, recorded_panel, write_curves
from ignite_vision.training.history import EpochRow

SVG = "{http://www.w3.org/2000/svg}"


def row(epoch, loss=1.0, best=False, **recorded):
    return EpochRow(epoch, 4 * epoch, loss, 0.5, loss + 0.1, 0.6, 0.01, best, False, recorded=recorded)


def drawn(rows, tmp_path, title="digits"):
    """The picture, parsed as XML."""
    write_curves(rows, tmp_path / "curves.svg", title)
    return ET.fromstring((tmp_path / "curves.svg").read_text(encoding="utf-8"))


def texts(picture):
    return [element.text for element in picture.iter(f"{SVG}text")]


def test_loss_and_accuracy_have_a_panel_each_with_a_point_an_epoch(tmp_path):
    picture = drawn([row(1), row(2, 0.5, best=True), row(3, 0.7)], tmp_path)
    assert {"loss", "accuracy", "train (running)", "validation", "best epoch"} <= set(texts(picture))
    lines = [line.get("points").split() for line in picture.iter(f"{SVG}polyline")]
    assert [len(points) for points in lines] == [3, 3, 3, 3]
    assert len(list(picture.iter(f"{SVG}circle"))) == 3  # one in each panel, and the legend's


def test_a_recorded_number_has_a_panel_and_no_point_where_it_is_missing(tmp_path):
    picture = drawn([row(1), row(2, val_top2=0.9)], tmp_path)
    assert "val_top2" in texts(picture)
    rows = [row(1), row(2, val_top2=0.9)]
    assert len(recorded_panel(rows, "val_top2", 0).val.split()) == 1
    assert recorded_panel(rows, "val_top2", 0).train == ""


def test_the_ring_is_on_the_last_epoch_that_was_the_best():
    found = panel([row(1, best=True), row(2, best=True), row(3)], "loss", LEFT)
    assert found.best[0] == LEFT + WIDTH / 2


@pytest.mark.parametrize(
    "values",
    [
        [0.0],
        [1.0, 1.0],
        [1e-12, 1e-12],
        [-1e-15, 2e-15],
        [1e9, 1e9 + 1],
        [math.nan, math.inf],
        [-1.7e308, 1.7e308, 0.5],
        [5e-324, 1.0],
    ],
    ids=str,
)
def test_any_numbers_can_be_drawn(tmp_path, values):
    picture = drawn([row(i + 1, number=value) for i, value in enumerate(values)], tmp_path)
    points = [line.get("points") for line in picture.iter(f"{SVG}polyline")]
    assert "nan" not in "".join(points) and "inf" not in "".join(points)


def test_a_title_may_hold_anything_that_a_file_name_does(tmp_path):
    picture = drawn([row(1)], tmp_path, title='a<b>&"\x07\udcff')
    assert picture.find(f"{SVG}title").text == 'a<b>&"\\x07\\udcff: loss and accuracy by epoch'


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.13, 0.42, [0.1, 0.2, 0.3, 0.4, 0.5]),
        (1, 20, [0, 5, 10, 15, 20]),
        (3.0, 3.0, [3.0, 4.0]),
    ],
)
def test_ticks_are_round_numbers_around_what_is_drawn(low, high, expected):
    assert nice_ticks(low, high) == expected


def test_what_is_not_finite_does_not_stretch_the_axis():
    assert extent([1.0, math.nan, 3.0, math.inf]) == (1.0, 3.0)
    assert extent([math.nan]) == (0.0, 1.0)
