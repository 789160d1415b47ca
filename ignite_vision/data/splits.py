"""Which image is for training, which for validation, which for the test.

Splits are data, written to splits.csv: no later command can cut them again and leak a test image into training.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from ignite_vision.data import sides
from ignite_vision.data.containers import Container, as_images, sha256
from ignite_vision.errors import UserError

NAMES = ("train", "val", "test")


class Skipped(NamedTuple):
    """An image that is in no split, since it could not be read: its id, its class, and bytes of the file as text."""

    sample: str
    label: str
    size: str


@dataclasses.dataclass(frozen=True)
class Splits:
    """train, val and test, with the class names in the order of the targets.

    A data function leaves out val or test where its data set gives none: None until `cut` takes them from
    train. Any torch Dataset of (image, int) is accepted, and wrapped. UserError for fewer than two classes,
    two of one name, or targets out of range.
    """

    train: Container
    val: Container = None  # type: ignore[assignment]  # only a data function's own splits may lack them
    test: Container = None  # type: ignore[assignment]
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    """What the user should know about the data, a line each: for whoever prints warnings."""
    keep_duplicates_together: bool = dataclasses.field(default=False, compare=False)
    """Nobody has published how this data is split: near-duplicates may be kept on one side when it is cut."""
    skipped: tuple[Skipped, ...] = dataclasses.field(default=(), compare=False)
    """Images of the data that are in no split, since they could not be read."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))  # some data sets number them
        if len(self.classes) < 2:
            raise UserError(f"{len(self.classes)} classes", next_step="A classifier needs at least two.")
        if twice := repeated(self.classes):
            raise UserError(f"two classes are called '{twice}'", next_step="Rename one.")
        for name, images in self.items():
            object.__setattr__(self, name, as_images(images, name))
            self._check_range(name)

    def __getitem__(self, name: str) -> Container:
        """Return the split of this name: `train`, `val` or `test`; None if it is not cut yet. KeyError otherwise."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def items(self) -> Iterator[tuple[str, Container]]:
        """(name, images) of train, val and test, without those that are None."""
        return ((name, self[name]) for name in NAMES if self[name] is not None)

    def _check_range(self, name: str) -> None:
        targets = self[name].targets
        wrong = targets[(targets < 0) | (targets >= len(self.classes))]
        if len(wrong):
            last = len(self.classes) - 1
            raise UserError(f"{name} has target {int(wrong[0])}, the classes are 0 to {last}")


def repeated(names: Sequence[str]) -> str | None:
    """Return a name that is there more than once, or None."""
    return next((name for name, times in Counter(names).most_common(1) if times > 1), None)


def cut(
    splits: Splits,
    val_fraction: float,
    test_fraction: float,
    split_seed: int,
    fold: tuple[int, int] | None = None,
    duplicates: torch.Tensor | None = None,
) -> Splits:
    """Cut from train what is None: seeded, stratified by class, both fractions of the same pool; whole groups if any.

    fold: (k, n), the test is the k-th of n folds. duplicates: (N,) int64 over train; equal numbers lie on one side.
    Each split keeps the pool's order. UserError if there are too few groups, or nothing is left to train on.
    """
    if fold and splits.test is not None:
        raise UserError("the data has a test split of its own, so there are no folds", next_step="Leave fold out.")
    val = val_fraction if splits.val is None else 0.0
    test = test_fraction if splits.test is None and fold is None else 0.0
    if min(val, test) < 0 or val + test >= 1:
        raise UserError(f"val_fraction {val} and test_fraction {test} leave nothing to train on")
    if fold and val + 1 / fold[1] >= 1:
        raise UserError(f"val_fraction {val} and a fold of {fold[1]} leave nothing to train on")
    pool, classes = splits.train, len(splits.classes)
    groups = joined(pool.groups, duplicates)
    if fold:
        side = sides.by_fold(pool.targets, classes, groups, fold, val, split_seed)
    elif pool.groups is not None and groups is not None:
        side = sides.by_group(pool.targets, groups, val, test, split_seed)
    else:
        side = sides.by_class(pool.targets, classes, val, test, split_seed)
        if groups is not None:
            side = sides.with_duplicates(side, pool.targets, groups, (val, test), split_seed)
    train_cut, val_cut, test_cut = (pool.subset(torch.nonzero(side == number)[:, 0]) for number in range(3))
    return dataclasses.replace(
        splits,
        train=train_cut,
        val=val_cut if splits.val is None else splits.val,
        test=test_cut if splits.test is None else splits.test,
    )


def joined(one: torch.Tensor | None, other: torch.Tensor | None) -> torch.Tensor | None:
    """Groups of both kinds together, (N,) int64: images are in one if a chain of either kind connects them."""
    if one is None or other is None:
        return other if one is None else one
    left, right = one.unique(return_inverse=True)[1], other.unique(return_inverse=True)[1]
    right += left.max() + 1
    return torch.from_numpy(sides.connected(left.numpy(), right.numpy(), int(right.max()) + 1))[left]


def content_hash(splits: Splits) -> str:
    """Sha256 (hex) of every image's bytes: finds a file that was replaced by one of the same size. Reads all files."""
    digest = hashlib.sha256(fingerprint(splits).encode())
    for _, images in splits.items():
        for i in range(len(images)):
            digest.update(images.content_digest(i) or b"")
    return digest.hexdigest()


def sample_digests(splits: Splits) -> dict[str, str]:
    """Short hash of the content of some images of each split: finds most replaced files in a moment."""
    return {name: images.sample_digest() for name, images in splits.items()}


def fingerprint(splits: Splits) -> str:
    """Sha256 (hex) of classes and images in each split. Reads every array and looks at every file's size."""
    parts = [(name, images.fingerprint()) for name, images in splits.items()]
    return sha256([repr((splits.classes, parts)).encode("utf-8", "surrogatepass")])
