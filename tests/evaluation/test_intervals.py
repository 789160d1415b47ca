"""Intervals, and whether a difference is more than noise."""

import math

import numpy as np
import pytest
import torch

from ignite_vision.evaluation import intervals
from ignite_vision.evaluation.counts import balanced_accuracy, counts_of, macro_f1
from ignite_vision.evaluation.intervals import (
    agresti_min,
    bootstrap,
    bootstrap_mean,
    fair_coin,
    holm,
    images_needed,
    mcnemar,
    wilson,
)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (500, 1000, 0.4691, 0.5309)],
)
def test_the_interval_of_a_fraction_is_the_one_of_the_tables(right, n, low, high):
    assert wilson(right, n) == pytest.approx((low, high), abs=1e-4)


def test_nothing_is_known_from_no_image():
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    n, p = 200, 0.93
    right = (torch.rand((4000, n), generator=generator) < p).sum(1)
    covered = [low <= p <= high for low, high in (wilson(int(k), n) for k in right)]
    assert 0.93 < sum(covered) / len(covered) < 0.97


def marks(both, first, second, neither):
    """Which images two classifiers have right: (one, other)."""
    one = torch.tensor([True] * both + [True] * first + [False] * second + [False] * neither)
    other = torch.tensor([True] * both + [False] * first + [True] * second + [False] * neither)
    return one, other


def test_images_that_both_have_right_or_wrong_say_nothing_of_a_difference():
    assert mcnemar(*marks(90, 1, 4, 5)) == mcnemar(*marks(0, 1, 4, 0)) == pytest.approx(0.375)


def test_a_difference_of_many_images_is_no_noise_and_one_of_few_is():
    assert mcnemar(*marks(100, 3, 20, 5)) < 0.01
    assert mcnemar(*marks(100, 3, 4, 5)) == 1.0
    assert mcnemar(*marks(100, 0, 0, 5)) == 1.0


def test_ten_thousand_images_do_not_overflow():
    assert mcnemar(*marks(5, 5000, 5200, 5)) == pytest.approx(0.0488, abs=2e-3)


# 8 classes of 12 to 40 images, as a model may see them: rows are the truth, in shares
TRUTH = np.eye(8) * 0.8 + np.roll(np.eye(8), 1, axis=1) * 0.15 + 0.05 / 8
SIZES = np.array([12, 16, 20, 24, 28, 32, 36, 40])


def drawn(generator):
    """A confusion matrix of images drawn from TRUTH, the class of each included."""
    cells = TRUTH * (SIZES / SIZES.sum())[:, None]
    return generator.multinomial(SIZES.sum(), cells.ravel() / cells.sum()).reshape(8, 8)


@pytest.mark.parametrize("statistic", [balanced_accuracy, macro_f1])
def test_a_bootstrap_covers_the_truth_nearly_as_often_as_it_says(statistic):
    generator = np.random.default_rng(0)
    cells = TRUTH * (SIZES / SIZES.sum())[:, None] * 1e9
    true = statistic(counts_of(cells))
    found = [bootstrap(drawn(generator), [statistic], seed, draws=400)[0] for seed in range(300)]
    assert 0.88 < np.mean([low <= true <= high for low, high in found]) < 0.98


def test_a_bootstrap_of_the_cells_is_one_of_the_images():
    """Against images drawn one by one."""
    generator = np.random.default_rng(1)
    confusion = drawn(generator)
    cells = np.repeat(np.arange(64), confusion.ravel())
    each = [
        float(macro_f1(counts_of(np.bincount(generator.choice(cells, len(cells)), minlength=64).reshape(8, 8))))
        for _ in range(2000)
    ]
    assert bootstrap(confusion, [macro_f1], 0)[0] == pytest.approx(np.quantile(each, [0.025, 0.975]), abs=0.01)


def test_a_bootstrap_is_the_same_each_time_and_however_much_fits_into_memory(monkeypatch):
    confusion, losses = drawn(np.random.default_rng(2)), np.random.default_rng(3).exponential(size=100)
    whole = bootstrap(confusion, [macro_f1, balanced_accuracy], 5), bootstrap_mean(losses, 5)
    assert whole == (bootstrap(confusion, [macro_f1, balanced_accuracy], 5), bootstrap_mean(losses, 5))
    monkeypatch.setattr(intervals, "AT_ONCE", 1000)
    assert whole == (bootstrap(confusion, [macro_f1, balanced_accuracy], 5), bootstrap_mean(losses, 5))


def test_the_interval_of_a_mean_covers_it_nearly_as_often_as_it_says():
    generator = np.random.default_rng(4)
    found = [bootstrap_mean(generator.exponential(size=150), seed, draws=400) for seed in range(400)]
    assert 0.90 < np.mean([low <= 1 <= high for low, high in found]) < 0.98


def rare(generator):
    """Nearly all losses are nothing; one of 2,000 is large."""
    return np.where(generator.random(30_000) < 0.0005, 30.0, 0.001)


@pytest.mark.parametrize("draw", [lambda generator: generator.exponential(size=30_000), rare], ids=["many", "rare"])
def test_a_mean_of_very_many_has_the_interval_that_single_draws_give(draw, monkeypatch):
    values = draw(np.random.default_rng(5))
    low, high = bootstrap_mean(values, 6, draws=1000)
    assert (low, high) == bootstrap_mean(values, 6, draws=1000)
    monkeypatch.setattr(intervals, "MANY", len(values))
    one_low, one_high = bootstrap_mean(values, 6, draws=1000)
    assert high - low == pytest.approx(one_high - one_low, rel=0.1)
    assert abs(low - one_low) < 0.1 * (one_high - one_low)


def test_statistics_of_one_bootstrap_are_those_of_their_own():
    confusion = drawn(np.random.default_rng(2))
    both = bootstrap(confusion, [macro_f1, balanced_accuracy], 5)
    assert both == [bootstrap(confusion, [one], 5)[0] for one in (macro_f1, balanced_accuracy)]


def test_of_one_image_an_interval_is_a_point_and_of_none_there_is_none():
    assert bootstrap_mean(np.array([0.5]), 0) == (0.5, 0.5)
    assert bootstrap(np.array([[1, 0], [0, 0]]), [balanced_accuracy], 0) == [(1, 1)]
    assert all(map(math.isnan, bootstrap_mean(np.array([]), 0)))


def test_the_interval_of_a_paired_difference_is_agresti_and_mins():
    low, high = agresti_min(10, 20, 100)  # by hand: difference 10/102, variance (31 - 100/102) / 102²
    assert (low, high) == pytest.approx((-0.007242, 0.203320), abs=1e-6)
    assert agresti_min(20, 10, 100) == pytest.approx((-high, -low))
    assert agresti_min(0, 0, 0) == (-1.0, 1.0)
    low, high = agresti_min(0, 0, 1000)
    assert -0.005 < low < 0 < high < 0.005
    with pytest.raises(ValueError, match="60 and 50 of 100"):
        agresti_min(60, 50, 100)


@pytest.mark.parametrize(("n", "lost", "gained"), [(50, 0.02, 0.1), (215, 0.02, 0.02), (1000, 0.01, 0.03)])
def test_it_holds_the_true_difference_about_95_times_of_100(n, lost, gained):
    draws = np.random.default_rng(0).multinomial(n, (lost, gained, 1 - lost - gained), size=2_000)
    ends = [agresti_min(int(b), int(c), n) for b, c, _ in draws]
    assert 0.93 < np.mean([low <= gained - lost <= high for low, high in ends]) < 0.995


def test_holm_multiplies_by_the_tests_that_are_left():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_images_needed_are_more_for_smaller_differences():
    assert images_needed(4, 5, 215) == 15_190
    assert images_needed(0, 9, 215) == 188
    assert images_needed(5, 5, 215) is None


@pytest.mark.slow
def test_so_many_images_find_the_difference_80_times_of_100():
    lost, gained = 0.03, 0.05
    n = images_needed(30, 50, 1_000)
    draws = np.random.default_rng(0).multinomial(n, (lost, gained, 1 - lost - gained), size=1_000)
    found = np.mean([fair_coin(int(b), int(c)) < 0.05 for b, c, _ in draws])
    assert 0.75 < found < 0.85
