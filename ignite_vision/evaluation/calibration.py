"""Probabilities that mean something: one temperature, and the confidence from which answers can be trusted.

Both are fitted on validation images, never on test: those say how good they are. No answer's class ever changes.
How far probabilities are from meaning what they say is measured here, too.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import cross_entropy

MIN_IMAGES = 50  # for a temperature: on fewer it can cost more than it repairs
BOUNDS = (0.05, 20.0)  # where a temperature is looked for
TOLERANCE = 1e-7  # of its logarithm
DIGITS = 4  # of a threshold, rounded down
BINS = 15  # of a calibration error, equal parts of [0, 1]
PERFECT_DRAWS = 100  # of what a perfect model would show


def fit_temperature(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the number T for which softmax(logits / T) has the lowest log loss. (N,C) and (N,) class indices -> > 0.

    One virtual image that could be of any class is among them: without it T would run to 0 where every image is right.
    1.0, which changes nothing, for fewer than 50 images, for a single class, and for logits that are not finite. In
    float64; six significant digits.
    """
    n, classes = logits.shape
    if n < MIN_IMAGES or classes < 2 or not logits.isfinite().all():
        return 1.0
    wide = logits.double()

    def log_loss(log_temperature: float) -> float:
        smoothed = cross_entropy(wide / math.exp(log_temperature), targets, label_smoothing=1 / (n + 1))
        return smoothed.item()

    low, high = map(math.log, BOUNDS)
    found = minimize_scalar(log_loss, bounds=(low, high), method="bounded", options={"xatol": TOLERANCE})
    return float(f"{math.exp(found.x):.6g}")


def abstain_below(probabilities: torch.Tensor, targets: torch.Tensor, precision: float = 0.95) -> float | None:
    """Return the lowest confidence from which at least `precision` of the answers are right.

    (N,C) probabilities and (N,) class indices -> a threshold for the largest probability of an image, in [0,1] with
    four decimals. None where there is none, or where fewer answers would be left than can show it: 20 for 0.95.
    ValueError for a precision outside (0, 1).
    """
    if not 0 < precision < 1:
        raise ValueError(f"precision must be between 0 and 1, not {precision}")
    confidence, labels = probabilities.double().max(1)
    thresholds = round_down(confidence.numpy())
    order = np.argsort(-thresholds, kind="stable")
    right = np.cumsum((labels == targets).numpy()[order])
    answered = np.arange(1, len(order) + 1)
    enough = answered * (1 - precision) >= 1 - 1e-9  # a mistake in as many is what the precision allows
    # the last of equal confidences alone: a threshold lets all of them through
    last = np.append(np.diff(thresholds[order]) != 0, True)
    good = np.flatnonzero(enough & last & (right >= precision * answered - 1e-9))
    return float(thresholds[order][good[-1]]) if len(good) else None


def round_down(confidence: np.ndarray, digits: int = DIGITS) -> np.ndarray:
    """Thresholds that let these confidences through: rounded down to some decimals, 0 for NaN."""
    return np.asarray(np.floor(np.nan_to_num(confidence) * 10**digits) / 10**digits)


def brier_score(probabilities: torch.Tensor, targets: torch.Tensor) -> float:
    """Mean over images of the squared distance from (N,C) probabilities to the truth (Brier, 1950): 0 best, 2 worst."""
    own = probabilities.gather(1, targets[:, None])[:, 0]
    return ((probabilities.square().sum(1) - own.square()) + (1 - own).square()).mean().item()


def calibration_error(probabilities: torch.Tensor, targets: torch.Tensor, bins: int = BINS) -> float:
    """Expected calibration error: how far, on average, accuracy and confidence of a bin are apart. In [0, 1].

    (N,C) probabilities and (N,) class indices; equal bins of the largest probability, weighted by their images. NaN
    where probabilities are.
    """
    confidence, labels = probabilities.double().max(1)
    sure, right = confidence.numpy(), (labels == targets).numpy()
    return float(_errors(sure, right[None], bins)[0]) if np.isfinite(sure).all() else math.nan


def perfect_calibration_error(probabilities: torch.Tensor, seed: int, bins: int = BINS) -> tuple[float, float]:
    """(mean, 95th percentile) of the error that perfect calibration would show on as many images.

    As if each image were of a class drawn from its own (N,C) probabilities, 100 times: the error of few images is never
    0, so it says nothing alone. (NaN, NaN) where probabilities are.
    """
    sure = probabilities.double().max(1).values.numpy()
    if not np.isfinite(sure).all():
        return math.nan, math.nan
    right = np.random.default_rng(seed).random((PERFECT_DRAWS, len(sure))) < sure
    errors = _errors(sure, right, bins)
    return float(errors.mean()), float(np.quantile(errors, 0.95))


def _errors(sure: np.ndarray, right: np.ndarray, bins: int) -> np.ndarray:
    """(N,) confidences, (D,N) bool -> (D,) calibration errors."""
    order = np.argsort(sure, kind="stable")
    _, starts = np.unique(np.minimum((sure[order] * bins).astype(int), bins - 1), return_index=True)
    gaps = np.add.reduceat(right[:, order] - sure[order], starts, axis=1)
    return np.asarray(np.abs(gaps).sum(1) / len(sure))
