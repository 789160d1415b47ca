"""How well a probability orders images, against scikit-learn; ties as there."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ignite_vision.evaluation.ranking import ranking


@pytest.mark.parametrize("decimals", [6, 1, 0])
def test_both_numbers_are_scikit_learns_with_and_without_ties(decimals):
    generator = np.random.default_rng(1)
    members = generator.random(300) < 0.2
    scores = np.round(generator.random(300) + 0.4 * members, decimals)
    expected = roc_auc_score(members, scores), average_precision_score(members, scores)
    assert ranking(scores, members) == pytest.approx(expected, rel=1e-12)


def test_members_first_is_1_and_last_is_0():
    members = np.array([True, True, False, False])
    assert ranking(np.array([0.9, 0.8, 0.2, 0.1]), members) == (1, 1)
    assert ranking(np.array([0.1, 0.2, 0.8, 0.9]), members)[0] == 0
    assert ranking(np.full(4, 0.5), members) == (0.5, 0.5)


@pytest.mark.parametrize("members", [[True, True], [False, False]])
def test_without_others_or_without_members_there_is_no_order(members):
    assert all(map(math.isnan, ranking(np.array([0.2, 0.3]), np.array(members))))


def test_of_probabilities_that_are_no_numbers_there_is_none():
    assert all(map(math.isnan, ranking(np.array([0.2, math.nan]), np.array([True, False]))))
