"""Images whose label may be wrong: a model that did not see the label gives it next to nothing, and is sure of another.

Where 5 % of the labels were flipped on purpose, about 8 to 9 of 10 images found so had been flipped, and about as many
of the flipped ones were found. Nothing is ever changed: a person looks.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ignite_vision.evaluation.calibration import fit_temperature
from ignite_vision.evaluation.predictions import Predictions, calibrated
from ignite_vision.randomness import Purpose, key

DOUBTED = 0.05  # probability of the label below which it is in doubt
SURE = 0.02  # the same, of finds that are hardly ever mistaken
OTHER = 0.5  # probability that some other class must have
FOLDS = 5
LENGTH = 10.0  # features are scaled to it: logistic regression of strength 1 is about right then
MOST_STEPS = 300  # of L-BFGS, for one fold


@dataclasses.dataclass(frozen=True)
class Suspect:
    """An image whose label may be wrong. place: its number in the split. Probabilities in [0,1]."""

    path: str
    split: str
    place: int
    label: str
    looks_like: str
    p_label: float
    p_other: float

    @property
    def sure(self) -> bool:
        """Whether the label has hardly any probability."""
        return self.p_label < SURE


def suspects(probabilities: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the places of images whose label may be wrong, (K,) int64, the least probable label first.

    probabilities: (N,C), by a model that has not seen the labels, and not sharpened; a row that is not finite is no
    suspect. targets: (N,) class indices.
    """
    own = probabilities.gather(1, targets[:, None])[:, 0]
    found = torch.nonzero((own < DOUBTED) & (probabilities.amax(1) > OTHER))[:, 0]
    return found[torch.argsort(own[found], stable=True)]


def softened(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(N,C) logits -> (N,C) float64 probabilities, less sure where the model was too sure of these targets.

    Never surer: on labels that are right, a temperature below 1 makes three times as many suspects.
    """
    return calibrated(logits, max(1.0, fit_temperature(logits, targets)))


def unsharpened(predictions: Predictions) -> torch.Tensor:
    """(N,C) float64 probabilities of images that the model was not trained on, by its own temperature if above 1."""
    return calibrated(predictions.logits, max(1.0, predictions.temperature))


def out_of_fold(features: torch.Tensor, targets: torch.Tensor, seed: int) -> torch.Tensor:
    """Return (N,C) float64 probabilities of each image by a model that was fitted to the others.

    features: (N,D) of any floating type, such as the input of a frozen network's head. targets: (N,) class indices, C
    is one more than the largest. seed: of the folds. Five folds, of logistic regression. NaN in rows that nothing can
    be said of: where the features are not finite, and of classes with a single image. Softened as `softened` does.
    """
    rows, labels = _scaled(features), targets.numpy()
    classes = int(labels.max(initial=-1)) + 1
    counts = np.bincount(labels, minlength=classes)
    known = np.isfinite(rows).all(1) & (counts[labels] > 1)
    found = np.full((len(labels), classes), np.nan)
    fold = _folds(labels, seed)
    for k in range(FOLDS):
        fit, asked = known & (fold != k), known & (fold == k)
        if asked.any() and len(np.unique(labels[fit])) > 1:
            found[asked] = _fitted(rows[fit], labels[fit], rows[asked], classes)
    judged = np.isfinite(found).all(1)
    logits, of = torch.from_numpy(np.log(np.maximum(found[judged], 1e-12))), torch.from_numpy(labels[judged])
    found[judged] = softened(logits, of).numpy()
    return torch.from_numpy(found)


def _scaled(features: torch.Tensor) -> np.ndarray:
    rows = features.flatten(1).double()
    return (rows * (LENGTH / rows.norm(dim=1, keepdim=True).clamp(min=1e-12))).numpy()


def _folds(labels: np.ndarray, seed: int) -> np.ndarray:
    """(N,) fold of each image: those of a class take turns, in random order, so that each fold lacks few of any."""
    order = np.random.default_rng(key(seed, Purpose.FOLDS)).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % FOLDS
    return fold


def _fitted(rows: np.ndarray, labels: np.ndarray, asked: np.ndarray, classes: int) -> np.ndarray:
    """(M,classes) probabilities of the rows that are asked, zero for a class that was not fitted."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what it has after 300 steps is good enough here
        model = LogisticRegression(max_iter=MOST_STEPS).fit(rows, labels)
    found = np.zeros((len(asked), classes))
    found[:, model.classes_] = model.predict_proba(asked)
    return found


def listed(
    probabilities: torch.Tensor, targets: torch.Tensor, ids: Sequence[tuple[str, str, int]], classes: Sequence[str]
) -> list[Suspect]:
    """Return the suspects by name. ids: (path, split, place in the split) of each of the N images."""
    found = []
    for i in suspects(probabilities, targets).tolist():
        other, label = int(probabilities[i].argmax()), int(targets[i])
        p_label, p_other = float(probabilities[i, label]), float(probabilities[i, other])
        path, split, place = ids[i]
        found.append(Suspect(path, split, place, classes[label], classes[other], p_label, p_other))
    return found


def suspect_rows(found: Sequence[Suspect]) -> Iterator[tuple[str | int, ...]]:
    """Yield the header of label_suspects.csv, and a row for each suspect."""
    yield "path", "split", "label", "looks_like", "p_label", "p_other", "sure"
    for s in found:
        yield s.path, s.split, s.label, s.looks_like, f"{s.p_label:.6f}", f"{s.p_other:.6f}", int(s.sure)
