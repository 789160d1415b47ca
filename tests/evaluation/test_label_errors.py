"""Suspected labels: found where they were flipped on purpose, and hardly anywhere else."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ignite_vision.evaluation.label_errors import (
    listed,
    out_of_fold,
    softened,
    suspect_rows,
    suspects,
    unsharpened,
)
from ignite_vision.evaluation.predictions import Predictions


def digits(n=600):
    x, y = load_digits(return_X_y=True)
    return torch.from_numpy(x[:n]), torch.from_numpy(y[:n]).long()


def flipped(targets, share=0.05, seed=0):
    """(labels of which some are another class, which ones are)."""
    rng = np.random.default_rng(seed)
    which = torch.from_numpy(rng.choice(len(targets), round(share * len(targets)), replace=False))
    labels = targets.clone()
    labels[which] = (labels[which] + torch.from_numpy(rng.integers(1, 10, len(which)))) % 10
    return labels, set(which.tolist())


class TestSuspects:
    def test_are_images_whose_label_has_next_to_nothing_and_another_class_most(self):
        probabilities = torch.tensor([[0.9, 0.1], [0.04, 0.96], [0.01, 0.99], [0.06, 0.94]])
        assert suspects(probabilities, torch.zeros(4, dtype=torch.int64)).tolist() == [2, 1]

    def test_are_none_where_the_model_is_sure_of_nothing(self):
        probabilities = torch.tensor([[0.04, 0.48, 0.48]])
        assert suspects(probabilities, torch.tensor([0])).tolist() == []

    def test_are_none_where_nothing_is_known(self):
        assert suspects(torch.full((2, 2), math.nan), torch.tensor([0, 1])).tolist() == []
        assert suspects(torch.empty(0, 3), torch.empty(0, dtype=torch.int64)).tolist() == []


class TestOutOfFold:
    def test_labels_that_were_flipped_are_found_and_few_others(self):
        features, targets = digits()
        labels, planted = flipped(targets)
        found = set(suspects(out_of_fold(features, labels, seed=0), labels).tolist())
        assert len(found & planted) >= 0.8 * len(planted)
        assert len(found & planted) >= 0.8 * len(found)

    def test_labels_that_are_right_have_hardly_a_suspect(self):
        features, targets = digits()
        assert len(suspects(out_of_fold(features, targets, seed=0), targets)) <= 6

    def test_the_same_seed_gives_the_same_bits_and_another_seed_other_folds(self):
        features, targets = digits(200)
        first = out_of_fold(features, targets, seed=0)
        assert first.equal(out_of_fold(features, targets, seed=0))
        assert not first.equal(out_of_fold(features, targets, seed=1))

    def test_each_row_sums_to_one(self):
        features, targets = digits(200)
        assert out_of_fold(features, targets, seed=0).sum(1).numpy() == pytest.approx(1)

    def test_nothing_is_said_of_the_only_image_of_a_class_or_of_one_whose_features_are_not_finite(self):
        features, targets = digits(200)
        targets[3], features[7, 0] = 10, math.nan
        found = out_of_fold(features, targets, seed=0)
        assert torch.nonzero(found.isnan().any(1))[:, 0].tolist() == [3, 7]

    def test_of_one_class_alone_nothing_is_said(self):
        assert out_of_fold(torch.randn(20, 3), torch.zeros(20, dtype=torch.int64), seed=0).isnan().all()

    def test_of_no_images_is_empty(self):
        assert out_of_fold(torch.empty(0, 3), torch.empty(0, dtype=torch.int64), seed=0).shape == (0, 0)


def test_probabilities_are_softened_and_never_sharpened():
    logits = torch.nn.functional.one_hot(torch.arange(100) % 4, 4).float() * 3
    assert softened(logits, torch.arange(100) % 4).equal(logits.double().softmax(1))
    assert softened(logits * 4, (torch.arange(100) // 2) % 4).max() < 0.9
    of = Predictions(("a",) * 100, torch.arange(100) % 4, logits, ("a", "b", "c", "d"), temperature=0.1)
    assert unsharpened(of).equal(logits.double().softmax(1))


def test_the_table_has_names_and_says_which_finds_are_sure():
    probabilities = torch.tensor([[0.9, 0.1], [0.04, 0.96], [0.01, 0.99]], dtype=torch.float64)
    ids = [("a.jpg", "val", 0), ("b.jpg", "val", 1), ("c.jpg", "test", 0)]
    rows = list(suspect_rows(listed(probabilities, torch.zeros(3, dtype=torch.int64), ids, ("ant", "bee"))))
    assert rows == [
        ("path", "split", "label", "looks_like", "p_label", "p_other", "sure"),
        ("c.jpg", "test", "ant", "bee", "0.010000", "0.990000", 1),
        ("b.jpg", "val", "ant", "bee", "0.040000", "0.960000", 0),
    ]
