"""The curves of a run as one SVG."""

import dataclasses
import math
from xml.etree import ElementTree

import pytest

from ignite_vision.report.curves import extent, nice_ticks, write_curves
from ignite_vision.training.history import EpochRow

ROW = EpochRow(1, 10, 1.5, 0.4, 1.25, 0.5, 0.001, True, False)


def rows(count, **recorded):
    return [
        dataclasses.replace(ROW, epoch=n + 1, val_loss=1 / (n + 1), best=n == 1, recorded=dict(recorded))
        for n in range(count)
    ]


def drawn(tmp_path, history, title="digits"):
    write_curves(history, tmp_path / "curves.svg", title)
    return ElementTree.fromstring((tmp_path / "curves.svg").read_text())


def texts(svg):
    return [element.text for element in svg.iter() if element.tag.endswith("text")]


def test_there_are_two_panels_with_a_ring_at_the_best_epoch(tmp_path):
    svg = drawn(tmp_path, rows(4))
    assert {"loss", "accuracy"} <= set(texts(svg))
    assert len([element for element in svg.iter() if element.tag.endswith("circle")]) == 3  # and the legend's


def test_what_was_recorded_has_a_panel_of_its_own(tmp_path):
    plain, more = drawn(tmp_path, rows(3)), drawn(tmp_path, rows(3, val_top2=0.9))
    assert "val_top2" in texts(more)
    assert float(more.get("width")) > float(plain.get("width"))


def test_one_epoch_and_losses_that_are_no_numbers_are_drawn(tmp_path):
    drawn(tmp_path, rows(1))
    drawn(tmp_path, [dataclasses.replace(ROW, val_loss=math.nan)])


@pytest.mark.parametrize("title", ["<b>&", "a\x01b\x1b[0m", "bee\udcff"])
def test_a_hostile_name_keeps_the_file_well_formed(tmp_path, title):
    drawn(tmp_path, rows(2), title)


def test_ticks_are_round_and_cover_the_values():
    ticks = nice_ticks(0.13, 0.87)
    assert ticks == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert extent([math.nan, 1.0, math.inf, 3.0]) == (1.0, 3.0)
    assert extent([]) == (0.0, 1.0)
