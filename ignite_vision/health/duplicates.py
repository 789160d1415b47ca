"""The same picture more than once: the same bytes, or near-identical, within and across splits and classes."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ignite_vision.data.hashing import distance, near_pairs
from ignite_vision.data.sides import connected
from ignite_vision.errors import UserError
from ignite_vision.health.collection import Collection
from ignite_vision.health.findings import Finding, counted
from ignite_vision.health.records import Records
from ignite_vision.system.files import csv_text

BURST = 200  # pairs of one connected group: above, a burst or a template, not so many finds
HEADER = ("a", "b", "bits", "mirrored", "split_a", "split_b")
FILE = "duplicates.csv"
CONSEQUENCE = "a known picture counts as an unseen one"


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of near-identical images, sorted. All (P,).

    first < second: places in the collection. bits: of 256 that differ. mirrored: one is the mirror image of the other.
    same_bytes: the files are equal.
    """

    first: np.ndarray
    second: np.ndarray
    bits: np.ndarray
    mirrored: np.ndarray
    same_bytes: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def where(self, chosen: np.ndarray) -> Pairs:
        """Those of (P,) bool."""
        return Pairs(*(getattr(self, field.name)[chosen] for field in dataclasses.fields(self)))

    def images(self) -> np.ndarray:
        """Places of all images that are in a pair, sorted."""
        return np.unique(np.concatenate([self.first, self.second]))


def find_pairs(records: Records) -> Pairs:
    """Compare all images with all."""
    hashes, content = records.rows["hash"], records.rows["content"]
    near = near_pairs(hashes)[:, :2]
    same = same_content(content, records.rows["readable"])
    both = np.unique(np.concatenate([near, same]), axis=0)
    i, j = both[:, 0], both[:, 1]
    straight, turned = distance(hashes[i, 0], hashes[j, 0]), distance(hashes[i, 0], hashes[j, 1])
    return Pairs(i, j, np.minimum(straight, turned), turned < straight, content[i] == content[j])


def same_content(content: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Pairs of equal digests, each image with the next: (P,2). content: (N,) bytes. known: (N,) bool."""
    places = np.flatnonzero(known)
    _, group = np.unique(content[places], return_inverse=True)
    order = np.argsort(group, kind="stable")
    twice = group[order[1:]] == group[order[:-1]]
    return np.stack([places[order[:-1][twice]], places[order[1:][twice]]], axis=1)


def groups(pairs: Pairs, n: int) -> np.ndarray:
    """(P,): a number for each connected group of images. n: images."""
    return connected(pairs.first, pairs.second, n)[pairs.first]


def duplicate_findings(images: Collection, pairs: Pairs, right: Mapping[str, bool] | None = None) -> Iterator[Finding]:
    """Yield what pairs mean. right: id of a test image -> whether the run's model has it right."""
    in_bursts = bursts(pairs, len(images))
    yield from two_classes(images, pairs)
    yield from leaks(images, pairs, right)
    yield from bursts_found(images, pairs, in_bursts)
    yield from repeated_pictures(images, pairs.where(~in_bursts))


def bursts(pairs: Pairs, n: int) -> np.ndarray:
    """(P,) bool: whether a pair is of a connected group of more than 200."""
    group = groups(pairs, n)
    return np.bincount(group, minlength=1)[group] > BURST if len(pairs) else np.zeros(0, dtype=bool)


def two_classes(images: Collection, pairs: Pairs) -> Iterator[Finding]:
    """Yield pictures that lie in two classes."""
    targets = images.targets
    across = targets[pairs.first] != targets[pairs.second]
    for same, kind, level, what in (
        (pairs.same_bytes, "same_file_two_classes", "must", "the same file"),
        (~pairs.same_bytes, "alike_two_classes", "look", "near-identical images"),
    ):
        found = pairs.where(across & same)
        if len(found):
            names = classes_of(images, found)
            message = (
                f"{counted(len(found), 'pair')} of {what} in two classes{names}: at most one of the labels is right"
            )
            next_step = "Delete the one in the wrong class."
            yield Finding(kind, level, len(found), message, next_step, images.names(found.images()), FILE)


def classes_of(images: Collection, pairs: Pairs) -> str:
    """` (ketch and schooner)`, if it is the same two for all pairs."""
    both = {tuple(sorted(pair)) for pair in zip(images.targets[pairs.first], images.targets[pairs.second], strict=True)}
    if len(both) > 1:
        return ""
    one, other = (images.classes[label] for label in both.pop())
    return f" ('{one}' and '{other}')"


def leaks(images: Collection, pairs: Pairs, right: Mapping[str, bool] | None) -> Iterator[Finding]:
    """Yield images of test, and of val, that have a twin in train."""
    for split in ("test", "val"):
        if split not in dict(images.parts):
            continue
        known = twins_in_train(images, pairs, split)
        if len(known):
            total = int(images.in_split(split).sum())
            given = {split, "train"} <= images.given
            message = f"{len(known):,} of {counted(total, f'{split} image')} with a near-identical one in train"
            message += f": {CONSEQUENCE}"
            message += at_stake(images, known, right or {}) if split == "test" else ""
            level = "must" if given and split == "test" else "look"
            next_step = f"Delete them from {'train' if given else 'one of the two'}, or keep each group in one split."
            yield Finding(f"leak_{split}", level, len(known), message, next_step, images.names(known), FILE)


def twins_in_train(images: Collection, pairs: Pairs, split: str) -> np.ndarray:
    """Places of a split's images that have a twin in train, sorted."""
    there, train = images.in_split(split), images.in_split("train")
    i, j = pairs.first, pairs.second
    return np.unique(np.concatenate([i[there[i] & train[j]], j[there[j] & train[i]]]))


def at_stake(images: Collection, known: np.ndarray, right: Mapping[str, bool]) -> str:
    """`; accuracy 0.967, without them 0.965`. Nothing where the model's answers are not known."""
    names = {images.name(int(k)) for k in known}
    rest = [correct for name, correct in right.items() if name not in names]
    if not rest or not names <= right.keys():
        return ""
    return f"; accuracy {sum(right.values()) / len(right):.3f}, without them {sum(rest) / len(rest):.3f}"


def bursts_found(images: Collection, pairs: Pairs, chosen: np.ndarray) -> Iterator[Finding]:
    """Yield groups that are too large to be accidents."""
    found = pairs.where(chosen)
    if not len(found):
        return
    number = len(np.unique(groups(found, len(images))))
    members = found.images()
    message = (
        f"{counted(number, 'group')} of {len(members):,} near-identical images in all: bursts of one scene, frames "
        "of a film, or one template"
    )
    next_step = "Keep each group in one split, or a few images of it."
    yield Finding("burst", "look", number, message, next_step, images.names(members), FILE)


def repeated_pictures(images: Collection, pairs: Pairs) -> Iterator[Finding]:
    """Yield how many pairs there are, and how many lie in two splits."""
    if not len(pairs):
        return
    across = int((images.part_of[pairs.first] != images.part_of[pairs.second]).sum())
    what = "lie" if images.given > {"train"} else "would lie"
    number = f"{across:,}" if across else "none"
    message = f"{counted(len(pairs), 'pair')} of near-identical images; {number} {what} in two splits"
    first = f"{images.name(int(pairs.first[0]))} = {images.name(int(pairs.second[0]))}"
    next_step = f"For example {first}; all are in {FILE}."
    yield Finding("near_duplicates", "look", len(pairs), message, next_step, images.names(pairs.images()), FILE)


def as_csv(images: Collection, pairs: Pairs) -> str:
    """duplicates.csv: a row for each pair."""
    every = zip(pairs.first.tolist(), pairs.second.tolist(), pairs.bits.tolist(), pairs.mirrored.tolist(), strict=True)
    rows = (
        (images.name(i), images.name(j), bits, int(mirrored), images.split(i), images.split(j))
        for i, j, bits, mirrored in every
    )
    return csv_text([HEADER, *rows])


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of duplicates.csv: two ids, how many of 256 bits differ, and the split of each."""

    a: str
    b: str
    bits: int
    mirrored: bool
    split_a: str
    split_b: str


def read_pairs(path: Path) -> list[Row] | None:
    """The rows of duplicates.csv; None where there is no such file. UserError if it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
            return [_row(fields) for fields in csv.DictReader(lines)]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        what, next_step = f"cannot read {FILE}: {error}", "Delete it, or run `ignite-vision check` again."
        raise UserError(what, path, next_step) from error


def _row(fields: dict[str, str]) -> Row:
    """ValueError or TypeError for what is no number, or cut off."""
    split_a, split_b, a, b = texts = [fields[name] for name in ("split_a", "split_b", "a", "b")]
    if None in texts:
        raise ValueError(f"the line of {a} is cut off")
    return Row(a, b, int(fields["bits"]), fields["mirrored"] == "1", split_a, split_b)


def read_twins(path: Path, split: str) -> set[str] | None:
    """Ids of a split's images that have a twin in train, from duplicates.csv; None where there is no such file.

    None of train itself, too. UserError if it cannot be read.
    """
    rows = read_pairs(path)
    if rows is None or split == "train":
        return None
    found = set()
    for row in rows:
        sides = {row.split_a: row.a, row.split_b: row.b}
        if set(sides) == {split, "train"}:
            found.add(sides[split])
    return found
