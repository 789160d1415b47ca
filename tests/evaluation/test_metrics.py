"""Every number in metrics.json, checked by hand."""

import math
from pathlib import Path

import pytest
import torch

from ignite_vision import evaluation
from ignite_vision.evaluation.coverage import Fitted, fit_thresholds
from ignite_vision.evaluation.intervals import wilson
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


def sampled(n, c=4, seed=0):
    """Predictions of a model that is too sure, with the temperature that repairs it."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, c, generator=generator)
    targets = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return Predictions(tuple(f"{i}.jpg" for i in range(n)), targets, logits * 3, tuple("abcdefgh"[:c]), 3.0)


def test_beside_the_accuracy_stand_its_interval_the_largest_class_and_chance():
    numbers = metrics(predictions([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0]), "test")
    assert numbers["format"] == 2
    assert numbers["intervals"]["level"] == 0.95
    assert numbers["intervals"]["accuracy"] == list(wilson(4, 6))
    assert numbers["baseline"] == {"class": "ant", "accuracy": 0.5, "chance": 1 / 3}


def test_every_interval_holds_its_number():
    numbers = metrics(sampled(400), "test")
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "loss"):
        low, high = numbers["intervals"][name]
        assert low < numbers[name] < high


def test_intervals_follow_from_the_split_seed_alone():
    found = sampled(200)
    assert metrics(found, "test", 1) == metrics(found, "test", 1)
    assert metrics(found, "test", 1)["intervals"]["loss"] != metrics(found, "test", 2)["intervals"]["loss"]


def test_many_small_classes_have_no_interval_of_macro_f1():
    """It is biased itself there."""
    many = tuple(str(c) for c in range(120))
    few = predictions([c for c in range(120) for _ in range(5)], [c for c in range(120) for _ in range(5)], many)
    assert metrics(few, "test")["intervals"]["macro_f1"] is None


def test_calibration_is_measured_before_and_after_the_temperature():
    numbers = metrics(sampled(3000), "test", 0, fit_thresholds(sampled(500, seed=1).probabilities))
    found = numbers["calibration"]
    assert (found["temperature"], found["fitted_on"], found["n"]) == (3.0, "val", 500)
    assert found["before"]["loss"] == numbers["loss"]
    assert found["before"]["brier"] == numbers["brier"]
    assert found["after"]["loss"] == numbers["calibrated_loss"] < numbers["loss"]
    assert found["after"]["brier"] < found["before"]["brier"]
    assert found["after"]["ece"] <= 2 * found["ece_if_perfect"]["p95"] < found["before"]["ece"]


def test_of_too_few_validation_images_nothing_is_said_of_calibration_and_without_any_nothing_of_shares():
    assert metrics(sampled(100), "test", 0, Fitted(49, ((1.0, 0.0),)))["calibration"] is None
    numbers = metrics(sampled(100), "test")
    assert numbers["calibration"] is None
    assert numbers["coverage"] == []


def test_the_surer_the_answers_the_more_of_them_are_right():
    rows = metrics(sampled(3000), "test", 0, fit_thresholds(sampled(3000, seed=1).probabilities))["coverage"]
    assert [row["share"] for row in rows] == [1.0, 0.95, 0.9, 0.8, 0.7]
    assert [row["accuracy"] for row in rows] == sorted(row["accuracy"] for row in rows)
    assert [row["n"] / 3000 for row in rows] == pytest.approx([1, 0.95, 0.9, 0.8, 0.7], abs=0.03)


def test_images_with_a_twin_in_training_are_taken_out():
    found = predictions([0, 0, 1, 1], [0, 0, 1, 0])
    assert metrics(found, "test")["twins"] is None
    twins = metrics(found, "test", twins={"0.jpg", "1.jpg", "elsewhere.jpg"})["twins"]
    assert twins == {"in_train": 2, "accuracy_without": 0.5}
    assert metrics(found, "test", twins=set(found.ids))["twins"] == {"in_train": 4, "accuracy_without": None}


def test_a_class_is_measured_against_all_others():
    row = metrics(predictions([0, 0, 1, 1, 2], [0, 1, 1, 1, 0]), "test")["per_class"]["ant"]
    assert row["interval"] == list(wilson(1, 2))
    assert row["specificity"] == pytest.approx(2 / 3)
    assert 0 < row["roc_auc"] < 1
    assert math.isnan(metrics(predictions([0], [0]), "test")["per_class"]["ant"]["roc_auc"])


def test_numbers_need_no_heavy_library():
    """scikit-learn takes 1.6 s to import, scipy.stats 0.8 s."""
    for path in Path(evaluation.__file__).parent.glob("*.py"):
        lines = path.read_text().splitlines()
        assert not [line for line in lines if line.startswith(("from sklearn", "import sklearn", "from scipy.stats"))]
