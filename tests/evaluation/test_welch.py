"""Means of two settings over seeds."""

import numpy as np
import pytest
from scipy import stats

from ignite_vision.evaluation.welch import welch


@pytest.mark.parametrize(
    ("one", "other"), [((0.9, 0.92), (0.95, 0.94, 0.99)), ((0.5, 0.51, 0.5), (0.4, 0.6)), ((3.0, 1, 2), (9.0, 8, 10))]
)
def test_it_is_scipys(one, other):
    found, expected = welch(one, other), stats.ttest_ind(other, one, equal_var=False)
    assert found.difference == pytest.approx(np.mean(other) - np.mean(one))
    assert found.chance == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval()))


def test_seeds_that_change_nothing_leave_no_doubt():
    found = welch((0.1, 0.1, 0.1), (0.3, 0.3))
    assert (found.interval, found.chance) == ((found.difference, found.difference), 0.0)
    assert welch((0.1 + 0.2, 0.1 + 0.2), (0.3, 0.3)).chance == 1.0


def test_one_seed_is_refused():
    with pytest.raises(ValueError, match="one seed"):
        welch((0.1,), (0.2, 0.3))


def test_it_holds_the_difference_and_gives_no_more_false_alarms_than_it_says():
    draws = np.random.default_rng(1).normal(0.9, [[0.01], [0.004]], (1_000, 2, 3))
    found = [welch(one, other) for one, other in draws]
    assert 0.945 < np.mean([low <= 0 <= high for low, high in (one.interval for one in found)]) < 0.985
    assert np.mean([one.chance < 0.05 for one in found]) < 0.055
