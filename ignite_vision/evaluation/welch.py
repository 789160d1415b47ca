"""Whether the means of two settings differ by more than their seeds do: Welch's t-test."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Welch:
    """The difference of two means, the other's less the one's, its 95 % interval, and how often chance makes it.

    As if every seed's number were drawn from a normal distribution of its setting's own mean and spread (Welch, 1947).
    """

    difference: float
    interval: tuple[float, float]
    chance: float


def welch(one: Sequence[float], other: Sequence[float]) -> Welch:
    """Compare two settings by their numbers under several seeds. ValueError for fewer than two of either.

    Where no seed changes anything there is nothing to be in doubt about: the interval is the difference itself.
    """
    if min(len(one), len(other)) < 2:
        raise ValueError("one seed has no spread")
    from scipy.special import stdtr, stdtrit  # here: the command line waits for it only where it is needed

    difference = float(np.mean(other) - np.mean(one))
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (one, other)]
    variance = sum(parts)
    if variance < 1e-24:  # of numbers that are equal, but for the last bits of their mean
        return Welch(difference, (difference, difference), 0.0 if abs(difference) > 1e-12 else 1.0)
    squares = sum(part**2 / (len(side) - 1) for part, side in zip(parts, (one, other), strict=True))
    freedom, error = variance**2 / squares, float(np.sqrt(variance))
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    return Welch(
        difference, (difference - half, difference + half), float(2 * stdtr(freedom, -abs(difference) / error))
    )
