"""Images that are not a run's own: with the classes that its model knows, and how many of them it was trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from ignite_vision.data.containers import Container
from ignite_vision.data.splits import Splits
from ignite_vision.data.splits_csv import read_csv
from ignite_vision.errors import UserError

SHOWN = 6  # classes in a message


@dataclasses.dataclass(frozen=True)
class Aligned:
    """Images with a model's class indices. Classes are names; left_out counts the images of unknown ones.

    split: of the data, or "all".
    """

    images: Container
    split: str
    unknown_classes: tuple[str, ...]
    missing_classes: tuple[str, ...]
    left_out: int

    def facts(self) -> dict[str, Any]:
        """What metrics.json says of them. JSON-plain."""
        classes = {"unknown_classes": list(self.unknown_classes), "missing_classes": list(self.missing_classes)}
        return {**classes, "left_out": self.left_out}

    def notes(self) -> list[str]:
        """What a person should know of them, a line each."""
        lines = []
        if self.unknown_classes:
            listed = ", ".join(self.unknown_classes)
            lines.append(f"{self.left_out} images of classes unknown to the model are left out: {listed}")
        if self.missing_classes:
            lines.append(f"classes of the model without images here: {', '.join(self.missing_classes)}")
        return lines


def align(
    given: Splits, split: str, classes: tuple[str, ...], label_of: Callable[[str], int | None] | None = None
) -> Aligned:
    """Take the images of data that is not cut, and match its classes with a model's by name.

    The split of that name where the data has splits, else all images. label_of: a name in the data -> the class that it
    means, or None, where other names than the model's own mean one. UserError if there is no such split, or no class of
    the data is known to the model.
    """
    whole = given.val is None and given.test is None
    images = given.train if whole else given[split]
    if images is None:
        raise UserError(f"the data has no {split} images", next_step="Choose another --split.")
    label_of = label_of or {name: label for label, name in enumerate(classes)}.get
    found = [label_of(name) for name in given.classes]
    labels = torch.tensor([-1 if label is None else label for label in found])[images.targets]
    keep = torch.nonzero(labels >= 0)[:, 0]
    if not len(keep):
        more = ", …" if len(classes) > SHOWN else ""
        hint = f"The model knows {', '.join(classes[:SHOWN])}{more}."
        raise UserError("no class of the data is known to the model", next_step=hint)
    there = set(labels.tolist())
    return Aligned(
        images=images.subset(keep).relabelled(labels[keep]),
        split="all" if whole else split,
        unknown_classes=tuple(sorted({given.classes[t] for t in images.targets[labels < 0].tolist()})),
        missing_classes=tuple(name for label, name in enumerate(classes) if label not in there),
        left_out=len(images) - len(keep),
    )


def seen_in_training(images: Container, classes: tuple[str, ...], splits_csv: Path) -> int:
    """How many of the images a run was trained or selected on: of the same class, file name and size.

    classes: of the images' targets. splits_csv: the run's. Folders do not count, since data moves. UserError if
    splits.csv cannot be read.
    """
    rows = read_csv(splits_csv)
    seen = {(label, _file(sample), size) for sample, label, split, size in rows if split in ("train", "val")}
    targets = images.targets.tolist()
    facts = ((classes[t], _file(images.sample_id(i)), images.file_size(i)) for i, t in enumerate(targets))
    return sum(size is not None and (label, name, str(size)) in seen for label, name, size in facts)


def warn_of_seen(
    images: Container, classes: tuple[str, ...], splits_csv: Path, say: Callable[[str], None]
) -> int | None:
    """Say how many of the images a run was trained on, and return it; None where splits.csv does not tell."""
    try:
        seen = seen_in_training(images, classes, splits_csv)
    except UserError:
        say("warning: splits.csv cannot be read, so it is not known whether the model was trained on these images")
        return None
    if seen:
        say(
            f"warning: {seen:,} of these {len(images):,} images are among those that the model was trained or selected"
            " on (same class, name and size): it does better on them than on new images"
        )
    return seen


def _file(sample: str) -> str:
    return PurePosixPath(sample).name
