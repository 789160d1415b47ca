"""Which classes are taken for which: a table of few classes, a picture of many, and the worst pairs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ignite_vision.report.thumbnails import png

MOST_IN_TABLE = 30  # classes; more are a picture
MOST_ORDERED = 400  # classes whose leaves are put in the best order, which takes their number to the third power
MOST_PAIRS = 10
RIGHT, WRONG = (60, 120, 220), (255, 100, 40)  # RGB of a point


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two classes that are taken for each other: how often, and of how many images."""

    first: str
    second: str
    n: int
    of: int
    first_for_second: int
    second_for_first: int


@dataclasses.dataclass(frozen=True)
class Cell:
    """Images of one class that were taken for another (or found, on the diagonal). share: of the true class."""

    predicted: str
    n: int
    share: float
    right: bool


@dataclasses.dataclass(frozen=True)
class Confusions:
    """What is confused. order: classes, alike ones beside each other. rows: the table, or None; picture: or None."""

    order: list[int]
    rows: list[tuple[str, list[Cell]]] | None
    picture: str | None
    pairs: list[Pair]
    sparse: dict[str, Any] | None
    """Everything, for the script."""


def confusions(
    counts: np.ndarray, probabilities: np.ndarray, targets: np.ndarray, names: tuple[str, ...]
) -> Confusions:
    """counts: (C,C) images by true and predicted class. probabilities: (N,C). targets: (N,) class indices."""
    order, few = alike(probabilities, targets, len(names)), len(names) <= MOST_IN_TABLE
    return Confusions(
        order=order,
        rows=table(counts, order, names) if few else None,
        picture=None if few else picture(counts, order),
        pairs=pairs(counts, names),
        sparse=None if few else sparse(counts, order, names),
    )


def alike(probabilities: np.ndarray, targets: np.ndarray, classes: int) -> list[int]:
    """Return the classes in an order that has beside each other what is alike.

    By the mean probabilities of each class, since counts have too many zeros: average linkage, leaves in the best order
    up to 400 classes.
    """
    if classes < 3:
        return list(range(classes))
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    means = np.zeros((classes, classes))
    np.add.at(means, targets, np.nan_to_num(probabilities))
    means /= np.maximum(np.bincount(targets, minlength=classes), 1)[:, None]
    likeness = np.sqrt(means + means.T)
    np.fill_diagonal(likeness, 0)
    distance = 1 - likeness / max(likeness.max(), 1e-9)
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    tree = linkage(condensed, "average")
    leaves = leaves_list(optimal_leaf_ordering(tree, condensed) if classes <= MOST_ORDERED else tree)
    return [int(c) for c in leaves]


def table(counts: np.ndarray, order: list[int], names: tuple[str, ...]) -> list[tuple[str, list[Cell]]]:
    """Return (true class, its cells) in this order of classes."""
    n = np.maximum(counts.sum(1), 1)
    return [
        (names[a], [Cell(names[b], int(counts[a, b]), float(counts[a, b] / n[a]), a == b) for b in order])
        for a in order
    ]


def picture(counts: np.ndarray, order: list[int]) -> str:
    """A point for each pair of classes, as a data URI: blue is right, orange wrong, opaque the more the more often."""
    share = counts[np.ix_(order, order)] / np.maximum(counts.sum(1)[order], 1)[:, None]
    pixels = np.zeros((*share.shape, 4), np.uint8)
    pixels[..., :3] = np.where(np.eye(len(order), dtype=bool)[..., None], RIGHT, WRONG)
    pixels[..., 3] = np.where(share > 0, 125 + 130 * np.sqrt(share), 0)
    return png(pixels)


def pairs(counts: np.ndarray, names: tuple[str, ...]) -> list[Pair]:
    """Return the pairs that are confused most, first; what happened only once may be chance and is left out."""
    both = np.triu(counts + counts.T, 1)
    first, second = np.nonzero(both > 1)
    most = np.lexsort((second, first, -both[first, second]))[:MOST_PAIRS]
    n = counts.sum(1)
    return [
        Pair(names[a], names[b], int(both[a, b]), int(n[a] + n[b]), int(counts[a, b]), int(counts[b, a]))
        for a, b in zip(first[most].tolist(), second[most].tolist(), strict=True)
    ]


def sparse(counts: np.ndarray, order: list[int], names: tuple[str, ...]) -> dict[str, Any]:
    """Return what the script reads: names, order, images of each class, and [true, predicted, n] that are not zero."""
    true, predicted = np.nonzero(counts)
    cells = [[a, b, int(counts[a, b])] for a, b in zip(true.tolist(), predicted.tolist(), strict=True)]
    return {"names": list(names), "order": order, "n": counts.sum(1).tolist(), "cells": cells}
