"""Probabilities that mean something: one temperature, and the confidence from which answers can be trusted.

Both are fitted on validation images, never on test: those say how good they are. No answer's class ever changes.
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
    thresholds = np.floor(np.nan_to_num(confidence.numpy()) * 10**DIGITS) / 10**DIGITS
    order = np.argsort(-thresholds, kind="stable")
    right = np.cumsum((labels == targets).numpy()[order])
    answered = np.arange(1, len(order) + 1)
    enough = answered * (1 - precision) >= 1 - 1e-9  # a mistake in as many is what the precision allows
    # the last of equal confidences alone: a threshold lets all of them through
    last = np.append(np.diff(thresholds[order]) != 0, True)
    good = np.flatnonzero(enough & last & (right >= precision * answered - 1e-9))
    return float(thresholds[order][good[-1]]) if len(good) else None
