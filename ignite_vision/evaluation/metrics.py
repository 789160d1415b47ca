"""Every number of metrics.json, from predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ignite_vision.evaluation.predictions import Predictions
from ignite_vision.training.scores import loss_and_accuracy

TOP_K = 5


def metrics(predictions: Predictions, split: str) -> dict[str, Any]:
    """Every number of metrics.json. Fractions, loss in nats; a class without images in the split has None."""
    from sklearn.metrics import precision_recall_fscore_support

    targets, labels = predictions.targets.numpy(), predictions.labels.numpy()
    classes = predictions.classes
    precision, recall, f1, n = precision_recall_fscore_support(
        targets, labels, labels=range(len(classes)), zero_division=0
    )
    present = n > 0
    numbers = {
        "split": split,
        "n": len(targets),
        **loss_and_accuracy(predictions.logits, predictions.targets),
        "calibrated_loss": calibrated_loss(predictions),
        "balanced_accuracy": float(recall[present].mean()),
        "macro_f1": float(f1[present].mean()),
    }
    if len(classes) > TOP_K:
        numbers["top5_accuracy"] = top_k_accuracy(predictions, TOP_K)
    # a class's own accuracy is the share of its images that are right: its recall
    rows = zip(classes, n.tolist(), precision.tolist(), recall.tolist(), f1.tolist(), strict=True)
    numbers["per_class"] = {
        name: {"n": count, "precision": p, "recall": r, "f1": f, "accuracy": r} if count else {"n": 0}
        for name, count, p, r, f in rows
    }
    return numbers


def calibrated_loss(predictions: Predictions) -> float:
    """Mean cross entropy in nats of the probabilities that are shown: of the logits divided by the temperature."""
    return loss_and_accuracy(predictions.logits.double() / predictions.temperature, predictions.targets)["loss"]


def top_k_accuracy(predictions: Predictions, k: int) -> float:
    """Share of images whose class is among the k most probable."""
    best = predictions.logits.topk(k, dim=1).indices
    return (best == predictions.targets[:, None]).any(1).sum().item() / len(predictions.targets)


def confusion(predictions: Predictions) -> list[tuple[str, str, int]]:
    """(true, predicted, count) for every pair that occurs, by class order."""
    c = len(predictions.classes)
    pairs = np.bincount(predictions.targets.numpy() * c + predictions.labels.numpy(), minlength=c * c)
    names = predictions.classes
    return [(names[i // c], names[i % c], int(pairs[i])) for i in np.flatnonzero(pairs)]


def weakest(numbers: dict[str, Any], most: int = 3) -> list[tuple[str, float]]:
    """Return the classes with the lowest accuracy, weakest first, that are below the overall accuracy."""
    rated = [(name, row["accuracy"]) for name, row in numbers["per_class"].items() if row["n"]]
    below = [(name, accuracy) for name, accuracy in rated if accuracy < numbers["accuracy"]]
    return sorted(below, key=lambda pair: pair[1])[:most]
