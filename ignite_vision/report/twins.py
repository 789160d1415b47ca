"""Pairs of near-identical images, side by side, with the split of each: those that lie in two splits come first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from ignite_vision.data import hash_store
from ignite_vision.data.hashing import distance, near_pairs
from ignite_vision.data.splits import Splits
from ignite_vision.health.duplicates import Row
from ignite_vision.report.thumbnails import thumbnail, webp

SHOWN = 12  # pairs
MOST = 20_000  # images that are compared, all with all: some ten seconds


@dataclasses.dataclass(frozen=True)
class Half:
    """One image of a pair."""

    src: str
    name: str
    split: str
    label: str


@dataclasses.dataclass(frozen=True)
class Twins:
    """The first pairs, each with what is said of it; how many there are, and how many of them lie in two splits."""

    shown: list[tuple[Half, Half, str]]
    n: int
    across: int


def twins(rows: Sequence[Row], splits: Splits) -> Twins:
    """Draw the first of these pairs that are of these splits; a row of other images is passed over."""
    places = {(name, images.sample_id(i)): i for name, images in splits.items() for i in range(len(images))}
    there = [row for row in rows if (row.split_a, row.a) in places and (row.split_b, row.b) in places]
    there.sort(key=lambda row: row.split_a == row.split_b)

    def half(split: str, name: str) -> Half:
        image, label = splits[split][places[split, name]]
        return Half(webp(thumbnail(image)), name, split, splits.classes[label])

    shown = [(half(row.split_a, row.a), half(row.split_b, row.b)) for row in there[:SHOWN]]
    said = [what(row, *pair) for row, pair in zip(there, shown, strict=False)]
    across = sum(row.split_a != row.split_b for row in there)
    return Twins([(*pair, text) for pair, text in zip(shown, said, strict=True)], len(there), across)


def what(row: Row, one: Half, other: Half) -> str:
    """How alike two images are, and their classes if these differ."""
    text = f"{row.bits} of 256 bits differ" if row.bits else "none of 256 bits differs"
    text += ", mirrored" if row.mirrored else ""
    return text + (f"; {one.label} and {other.label}" if one.label != other.label else "")


def known_pairs(splits: Splits) -> list[Row] | None:
    """Pairs by the hashes that earlier commands kept; None where some image has none, or they are too many."""
    parts = list(splits.items())
    if sum(len(images) for _, images in parts) > MOST or not all(images.stable for _, images in parts):
        return None
    kept = [hash_store.kept(images) for _, images in parts]
    if not all(known.all() for _, known in kept):
        return None
    return list(_rows(splits, np.concatenate([hashes for hashes, _ in kept])))


def _rows(splits: Splits, hashes: np.ndarray) -> Iterator[Row]:
    """Yield the pairs of all images in a row. hashes: (N,2,4)."""
    names = [(images.sample_id(i), name) for name, images in splits.items() for i in range(len(images))]
    for i, j, bits in near_pairs(hashes).tolist():
        straight = int(distance(hashes[i, 0], hashes[j, 0]))
        (a, split_a), (b, split_b) = names[i], names[j]
        yield Row(a, b, bits, straight > bits, split_a, split_b)
