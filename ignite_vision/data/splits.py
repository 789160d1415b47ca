"""Which image is for training, which for validation, which for the test.

Splits are data, written to splits.csv: no later command can cut them again and leak a test image into training.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

import torch

from ignite_vision.data.containers import Container, as_images, sha256
from ignite_vision.errors import UserError
from ignite_vision.randomness import Purpose, generator

NAMES = ("train", "val", "test")


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


def cut(splits: Splits, val_fraction: float, test_fraction: float, split_seed: int) -> Splits:
    """Cut from train what is None: seeded, stratified by class, both fractions of the same pool.

    A class of three images or more gives at least one to each split that is cut; at least one stays in train.
    Each split keeps the pool's order.
    """
    val = val_fraction if splits.val is None else 0.0
    test = test_fraction if splits.test is None else 0.0
    if min(val, test) < 0 or val + test >= 1:
        raise UserError(f"val_fraction {val} and test_fraction {test} leave nothing to train on")
    pool = splits.train
    parts: list[list[torch.Tensor]] = [[], [], []]
    sizes = torch.bincount(pool.targets, minlength=len(splits.classes)).tolist()
    for label, members in enumerate(torch.argsort(pool.targets, stable=True).split(sizes)):
        order = torch.randperm(len(members), generator=generator(split_seed, Purpose.SPLIT, label))
        for part, share in zip(parts, members[order].split(_shares(len(members), val, test)), strict=True):
            part.append(share)
    train_cut, val_cut, test_cut = (pool.subset(torch.cat(part).sort().values) for part in parts)
    return dataclasses.replace(
        splits,
        train=train_cut,
        val=val_cut if splits.val is None else splits.val,
        test=test_cut if splits.test is None else splits.test,
    )


def _shares(n: int, val: float, test: float) -> list[int]:
    """How many of a class's n images are for train, val and test; at least one stays in train."""
    least = 1 if n >= 3 else 0
    n_val = max(round(n * val), least) if val else 0
    n_test = max(round(n * test), least) if test else 0
    n_test = max(0, min(n_test, n - 1 - (least if val else 0)))
    n_val = max(0, min(n_val, n - 1 - n_test))
    return [n - n_val - n_test, n_val, n_test]


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
