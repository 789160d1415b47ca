"""Classes: how many images each has, in which split, and names that are nearly the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import numpy as np

from ignite_vision.health.collection import Collection
from ignite_vision.health.findings import Finding, counted, listed

FEW = 8  # images of a class: fewer leave a split with hardly one
UNEVEN = 10  # times the smallest class


def counts(images: Collection) -> dict[str, int]:
    """Class -> number of its images."""
    return dict(zip(images.classes, np.bincount(images.targets, minlength=len(images.classes)).tolist(), strict=True))


def class_findings(images: Collection) -> Iterator[Finding]:
    """Yield what is wrong with numbers and names of the classes."""
    yield from empty(images)
    yield from few(images)
    yield from uneven(images)
    yield from missing_from_a_split(images)
    yield from alike(images)


def empty(images: Collection) -> Iterator[Finding]:
    """Yield classes without an image."""
    found = [name for name, n in counts(images).items() if not n]
    if found:
        message = f"{counted(len(found), 'class')} without an image: {listed(found)}"
        yield Finding("empty_class", "must", len(found), message, "Add images, or remove the class.")


def few(images: Collection) -> Iterator[Finding]:
    """Yield classes of a handful of images."""
    found = {name: n for name, n in counts(images).items() if 0 < n < FEW}
    if found:
        least = ", ".join(f"'{name}' has {n}" for name, n in sorted(found.items(), key=lambda item: item[1])[:3])
        message = (
            f"{counted(len(found), 'class')} with fewer than {FEW} images ({least}): hardly one for the test, so its "
            "accuracy means little"
        )
        yield Finding("small_class", "look", len(found), message, "Add images, or merge classes.")


def uneven(images: Collection) -> Iterator[Finding]:
    """Yield how much the largest class outweighs the smallest."""
    there = {name: n for name, n in counts(images).items() if n}
    if not there:
        return
    most, least = max(there, key=lambda name: there[name]), min(there, key=lambda name: there[name])
    if there[most] > UNEVEN * there[least]:
        share = there[most] / sum(there.values())
        message = (
            f"'{most}' has {there[most]:,} images, '{least}' {there[least]:,}: always saying '{most}' is right for "
            f"{share:.0%}"
        )
        next_step = "Judge by balanced accuracy: --set score=balanced_accuracy."
        yield Finding("imbalance", "look", 1, message, next_step)


def missing_from_a_split(images: Collection) -> Iterator[Finding]:
    """Yield, for each split, the classes that have images, but none in it."""
    n = counts(images)
    for part, (split, inside) in enumerate(images.parts):
        here = np.bincount(inside.targets.numpy(), minlength=len(images.classes))
        found = [name for name, count in zip(images.classes, here.tolist(), strict=True) if n[name] and not count]
        if found and (images.part_of == part).any():
            what = "cannot be learnt" if split == "train" else "are not measured there"
            message = f"{counted(len(found), 'class')} missing from {split} ({listed(found)}): they {what}"
            yield Finding(f"missing_from_{split}", "look", len(found), message, f"Add images of them to {split}.")


def alike(images: Collection) -> Iterator[Finding]:
    """Yield names of classes, and of files, that only case or Unicode's form tells apart."""
    groups: dict[str, list[str]] = {}
    for name in images.classes:
        groups.setdefault(folded(name), []).append(name)
    same = [group for group in groups.values() if len(group) > 1]
    if same:
        examples = listed(" = ".join(group) for group in same)
        message = f"{counted(len(same), 'group')} of classes that differ in case or Unicode form alone: {examples}"
        yield Finding("class_names", "note", len(same), message, "If they are one class, merge their folders.")
    hashes = np.fromiter((hash(folded(images.name(k))) for k in range(len(images))), np.int64, len(images))
    order = np.argsort(hashes, kind="stable")
    twice = order[1:][hashes[order[1:]] == hashes[order[:-1]]]
    if len(twice):
        message = (
            f"{counted(len(twice), 'file')} that differ from another in case or Unicode form alone: one overwrites the "
            "other where names have no case, as on macOS and Windows"
        )
        yield Finding("file_names", "note", len(twice), message, "Rename them.", images.names(twice))


def folded(name: str) -> str:
    """The name without case, in one form of Unicode."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
