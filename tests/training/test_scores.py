"""What is right and what is best: equal to scikit-learn, and an order of epochs without gaps."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

from ignite_vision.recipe import SCORES as NAMES
from ignite_vision.training.scores import SCORES, Best, loss_and_accuracy, rank, right


def random_answers(seed, n=200, classes=5):
    """(logits (n,classes), targets (n,)) of which some are right; the last class has no image."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, classes - 1, (n,), generator=generator)
    logits = torch.randn(n, classes, generator=generator)
    logits[torch.arange(n), targets] += 1
    return logits, targets


@pytest.mark.parametrize("seed", range(5))
def test_every_score_is_that_of_scikit_learn(seed):
    logits, targets = random_answers(seed)
    said, true = logits.argmax(1).numpy(), targets.numpy()
    there = np.unique(true)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        balanced = balanced_accuracy_score(true, said)
    expected = {
        "accuracy": accuracy_score(true, said),
        "balanced_accuracy": balanced,
        "macro_f1": f1_score(true, said, labels=there, average="macro", zero_division=0),
        "loss": log_loss(true, logits.double().softmax(1).numpy(), labels=range(5)),
    }
    assert {name: score(logits, targets) for name, score in SCORES.items()} == pytest.approx(expected, abs=1e-12)


def test_a_class_that_is_never_predicted_counts_zero():
    logits, targets = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 0, 1])
    assert SCORES["balanced_accuracy"](logits, targets) == 0.5
    assert SCORES["macro_f1"](logits, targets) == pytest.approx(0.8 / 2)


def test_the_recipe_may_name_each_of_them():
    assert set(NAMES) == set(SCORES)


def test_soft_targets_are_right_where_the_likeliest_classes_agree():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    soft = torch.tensor([[0.6, 0.4, 0.0], [0.4, 0.6, 0.0]])
    assert right(logits, soft).tolist() == [True, False]
    assert right(logits, soft.argmax(1)).tolist() == [True, False]


def test_the_loss_of_many_images_is_summed_in_float64():
    logits, targets = random_answers(0, n=10_000)
    each = torch.nn.functional.cross_entropy(logits.double(), targets, reduction="none")
    assert loss_and_accuracy(logits, targets)["loss"] == pytest.approx(math.fsum(each.tolist()) / 10_000, rel=1e-14)


@pytest.mark.parametrize("score", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_one_image_more_right_outranks_any_loss(score):
    n = 1000
    worse, better = rank(score, 500 / n, 1e-9, n), rank(score, 501 / n, 1e9, n)
    assert better > worse


def test_equal_scores_are_ordered_by_loss():
    assert rank("accuracy", 0.5, 1.0, 100) > rank("accuracy", 0.5, 1.001, 100)
    assert rank("macro_f1", 0.5, 1.0, 100) > rank("macro_f1", 0.5, 1.001, 100)


def test_the_lower_loss_is_the_better_where_loss_is_the_score():
    assert rank("loss", 0.1, 0.1, 100) > rank("loss", 0.2, 0.2, 100)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_what_is_not_finite_is_worse_than_all_else(score, odd):
    assert rank(score, 0.9, odd, 100) == rank(score, odd, 0.9, 100) == float("-inf")
    assert not rank(score, 0.9, odd, 100) > Best().score


def test_the_best_epoch_comes_back_from_its_state():
    best = Best(3, 0.5, {"w": torch.ones(2)}, {"extra": 1})
    again = Best()
    again.load_state_dict(best.state_dict())
    assert (again.epoch, again.score, again.extra) == (3, 0.5, {"extra": 1})
    assert again.weights["w"].equal(best.weights["w"])


def test_the_smallest_step_of_balanced_accuracy_outranks_any_loss():
    step = 1 / 1000 / 50 - 1 / 1000 / 51  # an image of one class against one of another, of a thousand
    assert rank("balanced_accuracy", 0.5 + step, 1e9, 50_500) > rank("balanced_accuracy", 0.5, 1e-9, 50_500)
