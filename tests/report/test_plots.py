"""Charts: every number is at its place, whatever the numbers are."""

import math

import numpy as np
import pytest

from ignite_vision.evaluation.intervals import wilson
from ignite_vision.report.plots import Plot, coverage, curves, percent, reliability, reliability_plot
from tests.helpers.reports import row


def test_a_plot_has_the_ends_of_its_axes_at_the_edges():
    plot = Plot((0, 10), (0, 1), [], [], "x")
    left, top, right, bottom = plot.box
    assert (plot.across(0), plot.across(10)) == (left, right)
    assert (plot.down(0), plot.down(1)) == (bottom, top)


def test_a_line_leaves_out_what_has_no_place():
    plot = Plot((0, 10), (0, 1), [], [], "x")
    assert len(plot.line([0, 5, 10], [0, math.nan, 1]).split()) == 2


@pytest.mark.parametrize(("value", "text"), [(0.931, "93.1\u202f%"), (1, "100.0\u202f%"), (math.nan, "–"), (None, "–")])
def test_a_percentage_reads_as_people_write_it(value, text):
    assert percent(value) == text


class TestCurves:
    def test_mark_the_last_best_epoch_and_where_training_stopped(self):
        loss, accuracy = curves([row(1, 0.5, best=True), row(2, 0.75, best=True), row(3, 0.7, stopped=True)])
        assert accuracy.best == (accuracy.plot.across(2), accuracy.plot.down(0.75))
        assert loss.stopped == loss.plot.across(3)

    def test_have_a_panel_for_each_recorded_number(self):
        found = curves([row(1, best=True), row(2, recorded={"ema": 0.5})])
        assert [curve.title for curve in found] == ["Loss", "Accuracy", "ema"]
        assert len(found[2].val.split()) == 1

    def test_of_values_of_many_magnitudes_have_powers_of_ten_at_equal_distances(self):
        found = curves([row(1, recorded={"strength": 1e5}), row(2, recorded={"strength": 10.0})])[2].plot
        assert [value for value, _ in found.yticks] == [10, 100, 1000, 1e4, 1e5]
        assert found.down(100) - found.down(1000) == pytest.approx(found.down(10) - found.down(100), abs=0.2)

    def test_of_one_epoch_and_of_nothing_finite_can_be_drawn(self):
        (loss, _) = curves([row(1, 0.5, best=True, train_loss=math.nan, val_loss=math.inf)])
        assert (loss.train, loss.val, loss.best) == ("", "", None)


class TestReliability:
    def test_bins_have_what_was_said_and_what_was_right_with_an_interval(self):
        plot = reliability_plot()
        (low, high) = reliability(np.array([0.52, 0.58, 1.0]), np.array([True, False, True]), plot)
        assert (low.n, low.confidence, low.accuracy) == (2, pytest.approx(0.55), 0.5)
        assert (low.low, low.high) == tuple(plot.down(v) for v in wilson(1, 2))
        assert high.confidence == 1.0

    def test_of_no_images_is_empty(self):
        assert reliability(np.array([]), np.array([], dtype=bool), reliability_plot()) == []


def test_coverage_begins_with_the_surest_and_ends_with_the_accuracy():
    confidence = np.linspace(0, 1, 200)
    plot, line = coverage(confidence, confidence > 0.25)
    points = [tuple(map(float, point.split(","))) for point in line.split()]
    assert points[0][1] == plot.down(1)
    assert points[-1] == (plot.across(1), plot.down(0.75))
