"""Every number in metrics.json, checked by hand."""

import pytest
import torch

from ignite_vision.evaluation.metrics import confusion, metrics, top_k_accuracy, weakest
from ignite_vision.evaluation.predictions import Predictions


def predictions(targets, labels, classes=("ant", "bee", "cow")):
    """Return sure predictions of these labels."""
    logits = torch.nn.functional.one_hot(torch.tensor(labels), len(classes)).float() * 9
    return Predictions(tuple(f"{i}.jpg" for i in range(len(targets))), torch.tensor(targets), logits, tuple(classes))


def test_accuracy_precision_recall_and_f1_per_class():
    numbers = metrics(predictions([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0]), "test")
    assert numbers["accuracy"] == pytest.approx(4 / 6)
    assert numbers["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    bee = numbers["per_class"]["bee"]
    assert bee["n"] == 2
    assert (bee["precision"], bee["recall"], bee["accuracy"]) == pytest.approx((2 / 3, 1, 1))
    assert bee["f1"] == pytest.approx(0.8)
    assert numbers["macro_f1"] == pytest.approx((2 / 3 + 0.8 + 0) / 3)


def test_a_class_that_is_not_in_the_split_counts_for_nothing():
    numbers = metrics(predictions([0, 1], [0, 1]), "val")
    assert numbers["per_class"]["cow"] == {"n": 0}
    assert numbers["balanced_accuracy"] == numbers["macro_f1"] == 1


def test_top_five_is_there_only_where_there_are_more_than_five_classes():
    assert "top5_accuracy" not in metrics(predictions([0], [0]), "test")
    many = tuple("abcdefg")
    assert metrics(predictions([0], [0], many), "test")["top5_accuracy"] == 1


def test_top_k_looks_at_the_k_most_probable():
    logits = torch.tensor([[3.0, 2, 1, 0], [3, 2, 1, 0]])
    both = Predictions(("a", "b"), torch.tensor([1, 3]), logits, tuple("wxyz"))
    assert top_k_accuracy(both, 1) == 0
    assert top_k_accuracy(both, 2) == 0.5
    assert top_k_accuracy(both, 4) == 1


def test_the_loss_is_cross_entropy_in_float64():
    one = Predictions(("a",), torch.tensor([0]), torch.tensor([[1.0, 0.0]]), ("x", "y"))
    assert metrics(one, "test")["loss"] == pytest.approx(0.31326168751822286, rel=1e-12)


def test_the_confusion_is_long_and_complete():
    assert confusion(predictions([0, 0, 1, 2], [0, 1, 1, 0])) == [
        ("ant", "ant", 1),
        ("ant", "bee", 1),
        ("bee", "bee", 1),
        ("cow", "ant", 1),
    ]


def test_the_weakest_classes_are_those_that_the_overall_accuracy_hides():
    numbers = metrics(predictions([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0]), "test")
    assert [name for name, _ in weakest(numbers)] == ["cow"]
    assert weakest(metrics(predictions([0, 1, 2], [0, 1, 2]), "test")) == []
