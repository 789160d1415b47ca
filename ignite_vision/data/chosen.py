"""Some classes of a data set instead of all: the others' images are left out, before anything is cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from ignite_vision.data.splits import Splits
from ignite_vision.errors import UserError, did_you_mean

SHOWN = 6  # classes in a message


def chosen(splits: Splits, classes: Sequence[str] | None, exclude: Sequence[str] | None) -> Splits:
    """The same with these classes alone (None: all) but those to exclude, in the data's order, and their images.

    Images keep their ids and groups. UserError for a name that the data does not have, or fewer than two classes left.
    """
    if classes is None and exclude is None:
        return splits
    for name in (*(classes or ()), *(exclude or ())):
        _refuse_unknown(name, splits.classes)
    wanted = set(splits.classes if classes is None else classes) - set(exclude or ())
    kept = [label for label, name in enumerate(splits.classes) if name in wanted]
    if len(kept) < 2:
        what = f"of the data's {len(splits.classes)} classes {len(kept)} would be left"
        raise UserError(what, next_step="A classifier needs at least two.")
    new = torch.full((len(splits.classes),), -1)
    new[kept] = torch.arange(len(kept))
    images = {}
    for name, container in splits.items():
        labels = new[container.targets]
        rows = torch.nonzero(labels >= 0)[:, 0]
        images[name] = container.subset(rows).relabelled(labels[rows])
    names = tuple(splits.classes[label] for label in kept)
    return dataclasses.replace(splits, classes=names, **images)  # type: ignore[arg-type]


def _refuse_unknown(name: str, classes: Sequence[str]) -> None:
    if name not in classes:
        more = ", …" if len(classes) > SHOWN else ""
        hint = did_you_mean(name, classes) or f"Classes are {', '.join(classes[:SHOWN])}{more}."
        raise UserError(f"the data has no class '{name}'", next_step=hint)
