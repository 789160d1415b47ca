"""How far a number can be trusted: intervals, and whether a difference is more than noise."""

from __future__ import annotations

import math

import torch

Z = 1.959963984540054  # of the normal distribution, for 95 %
NOISE = 0.05  # a difference that chance alone makes at least this often is called noise


def wilson(right: int, n: int) -> tuple[float, float]:
    """95 % interval of a fraction, right out of n (Wilson, 1927). (0, 1) for n = 0; ValueError for right > n."""
    if not 0 <= right <= n:
        raise ValueError(f"{right} of {n}")
    if n == 0:
        return 0.0, 1.0
    p, spread = right / n, Z * Z / n
    middle = (p + spread / 2) / (1 + spread)
    half = math.sqrt(p * (1 - p) * spread + spread * spread / 4) / (1 + spread)
    return (0.0 if right == 0 else middle - half), (1.0 if right == n else middle + half)


def mcnemar(one: torch.Tensor, other: torch.Tensor) -> float:
    """How often chance alone would make two classifiers differ so much on the same images: McNemar's exact test.

    one, other: (n,) bool, which images each has right. Only images that one of them alone has right count.
    """
    first, second = int((one & ~other).sum()), int((other & ~one).sum())
    n, fewer = first + second, min(first, second)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return float(min(1.0, 2 * tail / 2**n)) if n else 1.0
