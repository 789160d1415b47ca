"""How well a class's probability orders the images: of that class first, the others after them."""

from __future__ import annotations

import math

import numpy as np


def ranking(scores: np.ndarray, members: np.ndarray) -> tuple[float, float]:
    """(area under the ROC curve, average precision) of one class against the others.

    scores: (N,) of that class. members: (N,) bool, which images are of it. Equal scores count half in the first and are
    one threshold in the second, as in scikit-learn. (NaN, NaN) for members alone, for none, and where a score is NaN.
    """
    n, positives = len(scores), int(members.sum())
    if positives in (0, n) or np.isnan(scores).any():
        return math.nan, math.nan
    every, ours = np.sort(scores), np.sort(scores[members])
    below, upto = np.searchsorted(every, ours, "left"), np.searchsorted(every, ours, "right")
    first, last = np.searchsorted(ours, ours, "left"), np.searchsorted(ours, ours, "right")
    # of the images below or equal, those that are members themselves are no contest
    won = (below - first) + 0.5 * ((upto - below) - (last - first))
    area = won.sum() / (positives * (n - positives))
    return float(area), float(((positives - first) / (n - below)).mean())
