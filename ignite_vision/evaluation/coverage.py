"""Answering only what is sure: how many images that leaves, and how many of them are right.

The thresholds are chosen on validation images and kept in the model's header; other images say what they are worth.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch

from ignite_vision.evaluation.calibration import MIN_IMAGES, round_down
from ignite_vision.evaluation.intervals import wilson

SHARES = (1.0, 0.95, 0.9, 0.8, 0.7)  # of validation images that are answered
DIGITS = 6  # of a threshold, as in predictions.csv: a good model is surer than 0.9999 of most images


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What validation images decided: how many there were, and a confidence for each share of them, (share, threshold).

    split: which images, "val" but for what a caller says otherwise.
    """

    n: int
    thresholds: tuple[tuple[float, float], ...]
    split: str = "val"

    @property
    def calibrates(self) -> bool:
        """Whether there were enough images for a temperature."""
        return self.n >= MIN_IMAGES

    def to_header(self) -> dict[str, Any]:
        """JSON-plain, for a model's header."""
        return {"fitted_on": self.split, "n": self.n, "thresholds": [list(pair) for pair in self.thresholds]}

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Fitted | None:
        """What a checked header says under "calibration"; None from versions that did not say."""
        found = header.get("calibration")
        if found is None:
            return None
        return cls(found["n"], tuple((share, least) for share, least in found["thresholds"]), found["fitted_on"])


def fit_thresholds(probabilities: torch.Tensor) -> Fitted:
    """(N,C) calibrated probabilities of validation images -> for each share, the lowest confidence that is answered."""
    sure = round_down(probabilities.double().max(1).values.sort(descending=True).values.numpy(), DIGITS)
    # of all images the threshold is 0: nothing that another split has is below it
    picks = {share: sure[math.ceil(share * len(sure) - 1e-9) - 1].item() for share in SHARES[1:] if len(sure)}
    return Fitted(len(sure), ((1.0, 0.0), *picks.items()))


def coverage(probabilities: torch.Tensor, right: torch.Tensor, fitted: Fitted) -> list[dict[str, Any]]:
    """A row for each share: the threshold, how many images reach it here, and how many of those are right.

    probabilities: (N,C) calibrated. right: (N,) bool. accuracy is None where no image is answered.
    """
    sure = probabilities.double().max(1).values
    rows = []
    for share, threshold in fitted.thresholds:
        answered = sure >= threshold if threshold else torch.ones_like(right)
        n, good = int(answered.sum()), int((answered & right).sum())
        accuracy = good / n if n else None
        row = {"share": share, "threshold": threshold, "n": n, "accuracy": accuracy, "interval": list(wilson(good, n))}
        rows.append(row)
    return rows
