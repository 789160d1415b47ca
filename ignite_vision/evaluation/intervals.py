"""How far a number can be trusted: intervals, and whether a difference is more than noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from ignite_vision.evaluation.counts import Counts

LEVEL = 0.95  # of every interval
DRAWS = 2_000  # of a bootstrap: its ends are the 50th from below and from above
MANY, BLOCKS = 20_000, 500  # values of a mean above which they are drawn in blocks, and of these how many
AT_ONCE = 4_000_000  # numbers in memory while drawing
Z = 1.959963984540054  # of the normal distribution, for 95 %
NOISE = 0.05  # a difference that chance alone makes at least this often is called noise
POWER = 7.85  # (1.96 + 0.84)²: a difference is found in 80 of 100 test sets, at 5 % false alarms


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
    return fair_coin(first, second)


def fair_coin(heads: int, tails: int) -> float:
    """How often a fair coin falls at least as unevenly: the exact two-sided test. 1.0 for no throw."""
    n, fewer, term, tail = heads + tails, min(heads, tails), 1, 1
    for k in range(1, fewer + 1):  # binomial coefficients, each from the one before: whole numbers, so exact
        term = term * (n - k + 1) // k
        tail += term
    return float(min(1.0, 2 * tail / 2**n)) if n else 1.0


def agresti_min(only_one: int, only_other: int, n: int) -> tuple[float, float]:
    """95 % interval of a paired difference of accuracies, the other's less the one's (Agresti and Min, 2005).

    only_one, only_other: how many of n images one of them alone has right. Half an image is added to each of the four
    cells of the table. (-1, 1) for n = 0; ValueError for more than n.
    """
    if not 0 <= only_one + only_other <= n:
        raise ValueError(f"{only_one} and {only_other} of {n}")
    if n == 0:
        return -1.0, 1.0
    difference, total = only_other - only_one, n + 2
    variance = (only_one + only_other + 1 - difference**2 / total) / total**2
    half = Z * math.sqrt(variance)
    return max(-1.0, difference / total - half), min(1.0, difference / total + half)


def holm(chances: Sequence[float]) -> list[float]:
    """Holm's correction of several tests: each chance, in its place, as if it were the only one looked at."""
    order = sorted(range(len(chances)), key=chances.__getitem__)
    found, highest = [1.0] * len(chances), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(chances) - rank) * chances[place]))
        found[place] = highest
    return found


def images_needed(only_one: int, only_other: int, n: int) -> int | None:
    """How many images would show such a difference 80 times of 100. None where there is no difference."""
    difference = only_other - only_one
    return math.ceil(POWER * (only_one + only_other) * n / difference**2) if difference else None


def bootstrap(
    confusion: np.ndarray, statistics: Sequence[Callable[[Counts], np.ndarray]], seed: int, draws: int = DRAWS
) -> list[tuple[float, float]]:
    """95 % interval of each of what a confusion matrix decides: percentiles over images drawn with replacement.

    confusion: (C,C) counts. Drawing its cells is the same as drawing the images. The same seed gives the same draws,
    and all statistics are of the same ones.
    """
    values = [
        [statistic(counts) for statistic in statistics]
        for counts in _drawn(confusion, np.random.default_rng(seed), draws)
    ]
    return [_percentiles(np.concatenate(of_one)) for of_one in zip(*values, strict=True)]


def bootstrap_mean(values: np.ndarray, seed: int, draws: int = DRAWS) -> tuple[float, float]:
    """95 % interval of the mean of (N,) values over images, by the same bootstrap. (NaN, NaN) for none.

    Of more than 20,000 the largest 500 are drawn one by one, the others as 500 blocks of neighbours in size, by how
    often each comes: at 50,000 a fifth of a second instead of 1.3, and the same interval but for the noise of draws.
    """
    n, generator = len(values), np.random.default_rng(seed)
    if not n:
        return math.nan, math.nan
    if n > MANY:
        ordered = np.sort(values)
        blocks = [*np.array_split(ordered[:-BLOCKS], BLOCKS), *ordered[-BLOCKS:, None]]
        means, sizes = (np.array([f(block) for block in blocks]) for f in (np.mean, len))
        return _percentiles(generator.multinomial(n, sizes / n, size=draws) @ means / n)
    parts = _parts(draws, n)
    return _percentiles(np.concatenate([values[generator.integers(n, size=(d, n))].mean(1) for d in parts]))


def _drawn(confusion: np.ndarray, generator: np.random.Generator, draws: int) -> Iterator[Counts]:
    """Yield counts with a leading axis of draws, as many at once as fit."""
    rows, columns = np.nonzero(confusion)
    cells, c, n = confusion[rows, columns], len(confusion), int(confusion.sum())
    right = rows == columns
    by_column = np.argsort(columns, kind="stable")
    for d in _parts(draws, len(cells)):
        drawn = generator.multinomial(n, cells / n, size=d)
        correct = np.zeros((d, c), np.int64)
        correct[:, rows[right]] = drawn[:, right]
        yield Counts(correct, _sums(drawn, rows, c), _sums(drawn[:, by_column], columns[by_column], c))


def _sums(values: np.ndarray, groups: np.ndarray, c: int) -> np.ndarray:
    """(D,K) values of K sorted groups -> (D,C) sums over each of the C groups."""
    total = np.zeros((len(values), c), np.int64)
    there, starts = np.unique(groups, return_index=True)
    total[:, there] = np.add.reduceat(values, starts, axis=1)
    return total


def _parts(draws: int, width: int) -> list[int]:
    """Cut draws of so many numbers each into parts that fit into memory."""
    most = max(1, AT_ONCE // width)
    return [min(most, draws - done) for done in range(0, draws, most)]


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
