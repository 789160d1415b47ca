"""Numbers of the confusion matrix, against scikit-learn and by hand; of many draws at once as of one."""

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn

from ignite_vision.evaluation import counts as ours
from ignite_vision.evaluation.counts import Counts, counts_of

GENERATOR = np.random.default_rng(0)
TRUTH = GENERATOR.integers(0, 6, 400)
SAID = np.where(GENERATOR.random(400) < 0.6, TRUTH, GENERATOR.integers(0, 6, 400))
COUNTS = counts_of(sklearn.confusion_matrix(TRUTH, SAID))
BOTH = {"average": None, "zero_division": 0}


@pytest.mark.parametrize(
    ("number", "theirs"),
    [
        (ours.precision, sklearn.precision_score(TRUTH, SAID, **BOTH)),
        (ours.recall, sklearn.recall_score(TRUTH, SAID, **BOTH)),
        (ours.f1, sklearn.f1_score(TRUTH, SAID, **BOTH)),
        (ours.specificity, [sklearn.recall_score(TRUTH != c, SAID != c) for c in range(6)]),
        (ours.balanced_accuracy, sklearn.balanced_accuracy_score(TRUTH, SAID)),
        (ours.macro_f1, sklearn.f1_score(TRUTH, SAID, average="macro")),
        (ours.kappa, sklearn.cohen_kappa_score(TRUTH, SAID)),
        (ours.matthews, sklearn.matthews_corrcoef(TRUTH, SAID)),
    ],
)
def test_every_number_is_scikit_learns(number, theirs):
    assert number(COUNTS) == pytest.approx(theirs, rel=1e-12)


def test_a_class_without_images_counts_for_nothing_and_one_never_said_has_precision_0():
    counts = counts_of(np.array([[3, 1, 0], [2, 0, 0], [0, 0, 0]]))
    assert ours.balanced_accuracy(counts) == pytest.approx(0.375)
    assert ours.precision(counts).tolist() == [0.6, 0, 0]
    assert ours.macro_f1(counts) == pytest.approx((6 / 9 + 0) / 2)


def test_where_all_images_are_of_one_class_nothing_is_known_of_others():
    counts = counts_of(np.array([[5, 0], [0, 0]]))
    assert math.isnan(ours.specificity(counts)[0])
    assert math.isnan(ours.kappa(counts))
    assert ours.matthews(counts) == 0


def test_a_leading_axis_holds_draws():
    twice = Counts(*(np.stack([part, 2 * part]) for part in (COUNTS.correct, COUNTS.of_class, COUNTS.predicted)))
    for number in (ours.balanced_accuracy, ours.macro_f1):
        assert number(twice) == pytest.approx([number(COUNTS)] * 2)


def test_matthews_of_a_million_images_does_not_overflow():
    big = counts_of(np.array([[900_000_000, 1_000], [1_000, 900_000_000]]))
    assert ours.matthews(big) == pytest.approx(1, abs=1e-5)
