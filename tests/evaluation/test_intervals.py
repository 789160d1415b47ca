"""Intervals, and whether a difference is more than noise."""

import pytest
import torch

from ignite_vision.evaluation.intervals import mcnemar, wilson


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
