"""Temperatures and thresholds: on logits whose truth is known, and where nothing can be fitted."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss
from torch.nn.functional import cross_entropy

from ignite_vision.evaluation.calibration import (
    abstain_below,
    brier_score,
    calibration_error,
    fit_temperature,
    perfect_calibration_error,
)


def sampled(n, classes=10, scale=2.0, seed=0):
    """(logits, targets) of a model that is calibrated: each target is drawn from the probabilities."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=generator) * scale
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


class TestTemperature:
    @pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
    def test_of_distorted_probabilities_is_the_distortion(self, temperature):
        logits, targets = sampled(20_000)
        assert fit_temperature(logits * temperature, targets) == pytest.approx(temperature, rel=0.03)

    def test_is_the_one_with_the_lowest_log_loss(self):
        logits, targets = sampled(500, scale=1.0)
        found = fit_temperature(logits * 3, targets)

        def loss(temperature):
            return cross_entropy(logits.double() * 3 / temperature, targets, label_smoothing=1 / 501).item()

        assert loss(found) <= min(loss(found * factor) for factor in (0.9, 0.999, 1.001, 1.1))

    def test_of_images_that_are_all_right_stays_within_reason(self):
        """Plain fitting would make every probability 1."""
        targets = torch.arange(100) % 4
        logits = torch.nn.functional.one_hot(targets, 4).float() * 3
        found = fit_temperature(logits, targets)
        assert 0.05 < found < 1
        sure = (logits.double() / found).softmax(1).max(1).values
        assert 0.98 < sure.min() < 0.9999

    def test_of_images_that_are_all_wrong_is_high_and_finite(self):
        targets = torch.arange(100) % 4
        logits = torch.nn.functional.one_hot((targets + 1) % 4, 4).float() * 3
        assert fit_temperature(logits, targets) == pytest.approx(20, rel=1e-3)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_of_logits_that_are_not_finite_changes_nothing(self, value):
        logits, targets = sampled(100)
        logits[7, 3] = value
        assert fit_temperature(logits, targets) == 1.0

    @pytest.mark.parametrize(("n", "classes"), [(0, 3), (1, 3), (49, 3), (500, 1)])
    def test_of_too_few_images_or_classes_changes_nothing(self, n, classes):
        assert fit_temperature(torch.randn(n, classes), torch.zeros(n, dtype=torch.int64)) == 1.0

    def test_of_logits_that_say_nothing_is_a_number(self):
        assert 0.05 <= fit_temperature(torch.zeros(60, 3), torch.arange(60) % 3) <= 20

    def test_of_huge_logits_is_a_number(self):
        logits, targets = sampled(100)
        assert fit_temperature(logits * 1e30, targets) == pytest.approx(20, rel=1e-3)

    def test_is_the_same_each_time_and_in_half_precision(self):
        logits, targets = sampled(300)
        half = logits.bfloat16()
        assert fit_temperature(half, targets) == fit_temperature(half.float(), targets)

    def test_from_two_hundred_images_costs_little_on_others(self):
        """Where the model is calibrated already, what is fitted can only harm."""
        other, truth = sampled(20_000, seed=1)
        before = cross_entropy(other.double(), truth).item()
        for seed in range(2, 22):
            found = fit_temperature(*sampled(200, seed=seed))
            assert cross_entropy(other.double() / found, truth).item() < before + 0.02


def confident(rows):
    """(confidence, right) pairs -> (N,2) probabilities and targets."""
    sure = torch.tensor([confidence for confidence, _ in rows], dtype=torch.float64)
    targets = torch.tensor([0 if right else 1 for _, right in rows])
    return torch.stack([sure, 1 - sure], 1), targets


class TestAbstainBelow:
    def test_the_answers_from_it_on_are_right_as_often_as_stated(self):
        logits, targets = sampled(5_000, scale=4.0)
        probabilities = logits.double().softmax(1)
        threshold = abstain_below(probabilities, targets)
        sure, labels = probabilities.max(1)
        answered = sure >= threshold
        share = (labels == targets)[answered].double().mean()
        assert 0.95 <= share < 0.96
        assert 0.3 < answered.double().mean() < 1

    def test_it_is_the_lowest_such_confidence(self):
        rows = [(0.9, True)] * 38 + [(0.8, False)] + [(0.7, True)] * 20 + [(0.6, False)] * 20
        assert abstain_below(*confident(rows)) == 0.7

    def test_equal_confidences_are_answered_together(self):
        rows = [(0.9, True)] * 40 + [(0.8, True)] * 2 + [(0.8, False)] * 4
        assert abstain_below(*confident(rows)) == 0.9

    def test_where_all_are_right_it_is_the_lowest_confidence_seen(self):
        assert abstain_below(*confident([(0.93456, True)] * 30 + [(0.61239, True)])) == 0.6123

    @pytest.mark.parametrize("rows", [[], [(0.99, True)] * 19, [(0.9, False)] * 50, [(0.9, True), (0.9, False)] * 30])
    def test_there_is_none_where_no_confidence_will_do_or_too_few_answers_show_it(self, rows):
        probabilities, targets = confident(rows)
        assert abstain_below(probabilities.reshape(-1, 2), targets.long()) is None

    def test_twenty_right_answers_are_enough(self):
        assert abstain_below(*confident([(0.99, True)] * 20)) == 0.99

    def test_probabilities_that_are_no_numbers_are_below_every_threshold(self):
        probabilities, targets = confident([(0.9, True)] * 40 + [(0.5, False)] * 10)
        probabilities[-10:] = math.nan
        assert abstain_below(probabilities, targets) == 0.9

    @pytest.mark.parametrize("precision", [0.5, 0.8, 0.99])
    def test_the_precision_is_free(self, precision):
        logits, targets = sampled(5_000, scale=4.0)
        probabilities = logits.double().softmax(1)
        sure, labels = probabilities.max(1)
        right = (labels == targets)[sure >= abstain_below(probabilities, targets, precision)]
        assert right.double().mean() >= precision

    @pytest.mark.parametrize("precision", [0, 1, -1, 95, math.nan])
    def test_a_precision_that_is_no_fraction_is_refused(self, precision):
        with pytest.raises(ValueError, match="precision must be between 0 and 1"):
            abstain_below(torch.full((30, 2), 0.5), torch.zeros(30, dtype=torch.int64), precision)


class TestCalibrationError:
    def test_is_the_mean_gap_of_the_bins(self):
        rows = [(0.9, True), (0.9, False), (0.6, True), (0.6, True)]
        assert calibration_error(*confident(rows)) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)

    def test_a_confidence_of_1_is_in_the_last_bin(self):
        assert calibration_error(*confident([(1.0, True), (0.99, True)])) == pytest.approx(0.005)

    def test_of_a_model_that_is_calibrated_is_what_perfection_would_show(self):
        """The error of a calibrated model is in the range that is stated, 19 times of 20."""
        within = 0
        for seed in range(40):
            logits, targets = sampled(500, seed=seed)
            probabilities = logits.double().softmax(1)
            _, p95 = perfect_calibration_error(probabilities, seed)
            within += calibration_error(probabilities, targets) <= p95
        assert 34 <= within <= 40

    def test_of_a_model_that_is_too_sure_is_far_more(self):
        logits, targets = sampled(2_000)
        probabilities = (logits.double() * 3).softmax(1)
        mean, p95 = perfect_calibration_error(probabilities, 0)
        assert mean < p95 < 0.04 < 0.1 < calibration_error(probabilities, targets)

    def test_of_few_images_is_never_small_even_if_all_is_perfect(self):
        few, many = (perfect_calibration_error(sampled(n)[0].double().softmax(1), 0)[0] for n in (50, 5_000))
        assert many < 0.02 < 0.05 < few

    def test_of_no_numbers_is_none(self):
        probabilities, targets = confident([(math.nan, True)])
        assert math.isnan(calibration_error(probabilities, targets))
        assert all(map(math.isnan, perfect_calibration_error(probabilities, 0)))


class TestBrier:
    def test_is_the_squared_distance_to_the_truth(self):
        assert brier_score(*confident([(1.0, True)])) == 0
        assert brier_score(*confident([(1.0, False)])) == 2
        assert brier_score(*confident([(0.7, True), (0.7, False)])) == pytest.approx((0.18 + 0.98) / 2)

    def test_is_scikit_learns(self):
        logits, targets = sampled(300)
        probabilities = logits.double().softmax(1)
        theirs = np.mean([brier_score_loss(targets == c, probabilities[:, c]) for c in range(10)]) * 10
        assert brier_score(probabilities, targets) == pytest.approx(theirs, rel=1e-12)
