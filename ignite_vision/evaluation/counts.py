"""Numbers that the confusion matrix decides: of one evaluation, or of many draws of it at once."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ignite_vision.evaluation.predictions import Predictions


@dataclasses.dataclass(frozen=True)
class Counts:
    """Images of each class: right ones, all that are of it, all that were called so. (…, C) float64 or int64 each.

    A leading axis holds draws of a bootstrap; every number below is made along the last one.
    """

    correct: np.ndarray
    of_class: np.ndarray
    predicted: np.ndarray

    @property
    def n(self) -> np.ndarray:
        """How many images there are, (…)."""
        return self.of_class.sum(-1)


def confusion_matrix(predictions: Predictions) -> np.ndarray:
    """(C,C) int64: images by true class (rows) and predicted class (columns)."""
    c = len(predictions.classes)
    cells = predictions.targets.numpy() * c + predictions.labels.numpy()
    return np.bincount(cells, minlength=c * c).reshape(c, c)


def counts_of(confusion: np.ndarray) -> Counts:
    """(C,C) -> what is counted of each class."""
    return Counts(np.diagonal(confusion), confusion.sum(1), confusion.sum(0))


def precision(counts: Counts) -> np.ndarray:
    """Of the images called so, the share that are of the class; 0 where none is called so. (…, C)."""
    return _share(counts.correct, counts.predicted)


def recall(counts: Counts) -> np.ndarray:
    """Of the images of a class, the share that is right: its own accuracy. 0 for a class without images. (…, C)."""
    return _share(counts.correct, counts.of_class)


def f1(counts: Counts) -> np.ndarray:
    """Harmonic mean of precision and recall, (…, C)."""
    return _share(2 * counts.correct, counts.of_class + counts.predicted)


def specificity(counts: Counts) -> np.ndarray:
    """Of the images of other classes, the share not called so. NaN where all images are of one class. (…, C)."""
    others = counts.n[..., None] - counts.of_class
    wrong = counts.predicted - counts.correct
    return 1 - np.divide(wrong, others, out=np.full(np.shape(wrong), np.nan), where=others > 0)


def balanced_accuracy(counts: Counts) -> np.ndarray:
    """Mean recall over the classes that have images, (…)."""
    return _mean(recall(counts), counts.of_class > 0)


def macro_f1(counts: Counts) -> np.ndarray:
    """Mean F1 over the classes that have images, (…)."""
    return _mean(f1(counts), counts.of_class > 0)


def kappa(counts: Counts) -> float:
    """Cohen's kappa: the part of the way from the margins' chance agreement to 1. NaN where chance agrees wholly."""
    n = float(counts.n)
    observed = counts.correct.sum() / n
    expected = float((counts.of_class / n) @ (counts.predicted / n))
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def matthews(counts: Counts) -> float:
    """Matthews correlation of C classes (Gorodkin, 2004), in [-1, 1]. 0 where either side has one class."""
    n, truth, said = float(counts.n), counts.of_class.astype(float), counts.predicted.astype(float)
    spread = (n * n - truth @ truth) * (n * n - said @ said)
    return float((counts.correct.sum() * n - truth @ said) / math.sqrt(spread)) if spread else 0.0


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


def _mean(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    return np.where(there, values, 0).sum(-1) / there.sum(-1)
