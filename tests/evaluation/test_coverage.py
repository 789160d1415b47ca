"""Answering only what is sure: thresholds from validation, measured on other images."""

import json

import pytest
import torch

from ignite_vision.evaluation.coverage import SHARES, Fitted, coverage, fit_thresholds
from ignite_vision.evaluation.intervals import wilson


def sure(confidences):
    """Two classes, the first at these probabilities."""
    first = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([first, 1 - first], 1)


def test_each_share_of_the_validation_images_reaches_its_threshold():
    probabilities = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0)).double().softmax(1)
    fitted = fit_thresholds(probabilities)
    assert (fitted.n, fitted.split) == (1000, "val")
    assert [share for share, _ in fitted.thresholds] == list(SHARES)
    confidence = probabilities.max(1).values
    for share, threshold in fitted.thresholds[1:]:
        assert (confidence >= threshold).double().mean().item() == pytest.approx(share, abs=2e-3)
    assert fitted.thresholds[0] == (1.0, 0.0)


def test_a_row_has_the_images_that_reach_the_threshold_and_those_of_them_that_are_right():
    fitted = Fitted(10, ((1.0, 0.0), (0.9, 0.6), (0.8, 0.95)))
    right = torch.tensor([True, True, False, False])
    rows = coverage(sure([0.9, 0.6, 0.7, 0.55]), right, fitted)
    assert [(row["share"], row["threshold"], row["n"], row["accuracy"]) for row in rows] == [
        (1.0, 0.0, 4, 0.5),
        (0.9, 0.6, 3, 2 / 3),
        (0.8, 0.95, 0, None),
    ]
    assert rows[1]["interval"] == list(wilson(2, 3))


def test_of_all_images_even_those_are_answered_whose_probabilities_are_no_numbers():
    nothing = torch.full((3, 2), float("nan"))
    assert coverage(nothing, torch.tensor([True] * 3), fit_thresholds(sure([0.9])))[0]["n"] == 3


def test_it_travels_in_a_header():
    fitted = fit_thresholds(sure([0.9, 0.7, 0.6]))
    header = json.loads(json.dumps({"calibration": fitted.to_header()}))
    assert Fitted.from_header(header) == fitted
    assert Fitted.from_header({}) is None


def test_without_validation_images_everything_is_answered():
    assert fit_thresholds(torch.empty(0, 2)).thresholds == ((1.0, 0.0),)


@pytest.mark.parametrize(("n", "enough"), [(49, False), (50, True)])
def test_probabilities_are_calibrated_from_fifty_images_on(n, enough):
    assert Fitted(n, ()).calibrates is enough
