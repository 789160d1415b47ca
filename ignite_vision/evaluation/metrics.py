"""Every number of metrics.json, from predictions. docs/evaluation.md defines each."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from ignite_vision.evaluation import counts as counted
from ignite_vision.evaluation.calibration import brier_score, calibration_error, perfect_calibration_error
from ignite_vision.evaluation.counts import Counts, confusion_matrix, counts_of
from ignite_vision.evaluation.coverage import Fitted, coverage
from ignite_vision.evaluation.intervals import LEVEL, bootstrap, bootstrap_mean, wilson
from ignite_vision.evaluation.predictions import Predictions, calibrated
from ignite_vision.evaluation.ranking import ranking
from ignite_vision.randomness import Purpose, key
from ignite_vision.training.scores import loss_and_accuracy, right

FORMAT = 2
TOP_K = 5
TABLES = ("calibration", "coverage", "twins", "per_class")  # what does not travel with the weights
MANY_CLASSES, FEW_IMAGES = 100, 20  # macro F1 itself is biased where classes are many and small: no interval then


def metrics(
    predictions: Predictions,
    split: str,
    split_seed: int = 0,
    fitted: Fitted | None = None,
    twins: Set[str] | None = None,
) -> dict[str, Any]:
    """Every number of metrics.json. Fractions, losses in nats; None for what is not known, NaN for what is undefined.

    split_seed: of the recipe; the draws of intervals follow from it. fitted: what validation images decided. twins: ids
    of images that look like one of training, where that was looked at.
    """
    confusion = confusion_matrix(predictions)
    counts, seed = counts_of(confusion), key(split_seed, Purpose.BOOTSTRAP)
    raw, probabilities = calibrated(predictions.logits, 1.0), predictions.probabilities
    numbers = {
        "format": FORMAT,
        "split": split,
        "n": len(predictions.targets),
        **loss_and_accuracy(predictions.logits, predictions.targets),
        "calibrated_loss": calibrated_loss(predictions),
        "balanced_accuracy": float(counted.balanced_accuracy(counts)),
        "macro_f1": float(counted.macro_f1(counts)),
    }
    if len(predictions.classes) > TOP_K:
        numbers["top5_accuracy"] = top_k_accuracy(predictions, TOP_K)
    return {
        **numbers,
        "matthews": counted.matthews(counts),
        "kappa": counted.kappa(counts),
        "brier": brier_score(raw, predictions.targets),
        "intervals": intervals(predictions, confusion, seed),
        "baseline": baseline(counts, predictions.classes),
        "calibration": calibration(predictions, raw, probabilities, fitted, seed),
        "coverage": answered(predictions, probabilities, fitted),
        "twins": without_twins(predictions, twins),
        "per_class": per_class(predictions, probabilities, counts),
    }


def intervals(predictions: Predictions, confusion: np.ndarray, seed: int) -> dict[str, Any]:
    """95 % intervals, [low, high]: of the accuracy by Wilson, of the others by the bootstrap over images."""
    counts = counts_of(confusion)
    there = counts.of_class[counts.of_class > 0]
    biased = len(there) > MANY_CLASSES and np.median(there) < FEW_IMAGES
    losses = cross_entropy(predictions.logits.double(), predictions.targets, reduction="none").numpy()
    balanced, macro = bootstrap(confusion, (counted.balanced_accuracy, counted.macro_f1), seed)
    return {
        "level": LEVEL,
        "accuracy": list(wilson(int(counts.correct.sum()), int(counts.n))),
        "balanced_accuracy": list(balanced),
        "macro_f1": None if biased else list(macro),
        "loss": list(bootstrap_mean(losses, seed)),
    }


def baseline(counts: Counts, classes: tuple[str, ...]) -> dict[str, Any]:
    """What needs no model: the accuracy of always saying the largest class of these images, and that of guessing."""
    largest = int(counts.of_class.argmax())
    accuracy = float(counts.of_class[largest] / counts.n)
    return {"class": classes[largest], "accuracy": accuracy, "chance": 1 / len(classes)}


def calibration(
    predictions: Predictions, raw: torch.Tensor, probabilities: torch.Tensor, fitted: Fitted | None, seed: int
) -> dict[str, Any] | None:
    """How far (N,C) probabilities mean what they say, before and after the temperature; None where none was fitted."""
    if fitted is None or not fitted.calibrates:
        return None
    before = how_calibrated(raw, predictions, 1.0)
    after = how_calibrated(probabilities, predictions, predictions.temperature)
    mean, p95 = perfect_calibration_error(probabilities, seed)
    return {
        "temperature": predictions.temperature,
        "fitted_on": fitted.split,
        "n": fitted.n,
        "before": before,
        "after": after,
        "ece_if_perfect": {"mean": mean, "p95": p95},
    }


def how_calibrated(probabilities: torch.Tensor, predictions: Predictions, temperature: float) -> dict[str, float]:
    """Log loss, Brier score and calibration error of (N,C) probabilities, those of a temperature."""
    targets = predictions.targets
    return {
        "loss": loss_and_accuracy(predictions.logits.double() / temperature, targets)["loss"],
        "brier": brier_score(probabilities, targets),
        "ece": calibration_error(probabilities, targets),
    }


def answered(predictions: Predictions, probabilities: torch.Tensor, fitted: Fitted | None) -> list[dict[str, Any]]:
    """Accuracy where only sure answers are given; nothing where no thresholds are known."""
    hits = right(predictions.logits, predictions.targets)
    return [] if fitted is None else coverage(probabilities, hits, fitted)


def without_twins(predictions: Predictions, twins: Set[str] | None) -> dict[str, Any] | None:
    """The accuracy without images that look like one of training; None where nobody looked."""
    if twins is None:
        return None
    others = torch.tensor([sample not in twins for sample in predictions.ids], dtype=torch.bool)
    hits, n = right(predictions.logits, predictions.targets) & others, int(others.sum())
    return {"in_train": len(others) - n, "accuracy_without": int(hits.sum()) / n if n else None}


def per_class(predictions: Predictions, probabilities: torch.Tensor, counts: Counts) -> dict[str, dict[str, Any]]:
    """Return the numbers of each class against all others; a class without images has only its n, 0."""
    sizes, hits = counts.of_class.tolist(), counts.correct.tolist()
    recall = counted.recall(counts).tolist()
    shares = {
        "precision": counted.precision(counts).tolist(),
        "recall": recall,
        "f1": counted.f1(counts).tolist(),
        "accuracy": recall,  # a class's own accuracy is the share of its images that are right
        "interval": [list(wilson(k, n)) for k, n in zip(hits, sizes, strict=True)],
        "specificity": counted.specificity(counts).tolist(),
        **ranked(probabilities, predictions.targets, counts.of_class > 0),
    }
    return {
        name: {"n": sizes[c], **{what: values[c] for what, values in shares.items()}} if sizes[c] else {"n": 0}
        for c, name in enumerate(predictions.classes)
    }


def ranked(probabilities: torch.Tensor, targets: torch.Tensor, there: np.ndarray) -> dict[str, list[float]]:
    """Area under the ROC curve and average precision of each class against the others, by its probability."""
    scores, labels, nothing = probabilities.T.contiguous().numpy(), targets.numpy(), (float("nan"), float("nan"))
    pairs = [ranking(scores[c], labels == c) if there[c] else nothing for c in range(len(there))]
    areas, averages = zip(*pairs, strict=True)
    return {"roc_auc": list(areas), "average_precision": list(averages)}


def calibrated_loss(predictions: Predictions) -> float:
    """Mean cross entropy in nats of the probabilities that are shown: of the logits divided by the temperature."""
    return loss_and_accuracy(predictions.logits.double() / predictions.temperature, predictions.targets)["loss"]


def top_k_accuracy(predictions: Predictions, k: int) -> float:
    """Share of images whose class is among the k most probable."""
    best = predictions.logits.topk(k, dim=1).indices
    return (best == predictions.targets[:, None]).any(1).sum().item() / len(predictions.targets)


def confusion(predictions: Predictions) -> list[tuple[str, str, int]]:
    """(true, predicted, count) for every pair that occurs, by class order."""
    matrix, names = confusion_matrix(predictions), predictions.classes
    return [(names[i], names[j], int(matrix[i, j])) for i, j in zip(*np.nonzero(matrix), strict=True)]


def weakest(numbers: dict[str, Any], most: int = 3) -> list[tuple[str, float]]:
    """Return the classes with the lowest accuracy, weakest first, that are below the overall accuracy."""
    rated = [(name, row["accuracy"]) for name, row in numbers["per_class"].items() if row["n"]]
    below = [(name, accuracy) for name, accuracy in rated if accuracy < numbers["accuracy"]]
    return sorted(below, key=lambda pair: pair[1])[:most]
