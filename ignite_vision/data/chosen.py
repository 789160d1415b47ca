"""Some classes of a data set instead of all, or several as one, before anything is cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

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


def merged(splits: Splits, table: Mapping[str, Sequence[str]] | None, *, strict: bool = True) -> Splits:
    """The same with several classes as one. table: name of the new class -> those that it is made of.

    It has the place of the first of them; a class of the data that has its name already is one of them. UserError for
    a name that the data does not have, unless not strict, and if fewer than two classes are left.
    """
    if not table:
        return splits
    into = {old: new for new, olds in table.items() for old in olds}
    for old in into if strict else ():
        _refuse_unknown(old, splits.classes)
    names = [into.get(name, name) for name in splits.classes]
    kept = tuple(dict.fromkeys(names))
    if len(kept) < 2:
        raise UserError(f"merge leaves {len(kept)} class", next_step="A classifier needs at least two.")
    new = torch.tensor([kept.index(name) for name in names])
    images = {name: container.relabelled(new[container.targets]) for name, container in splits.items()}
    return dataclasses.replace(splits, classes=kept, **images)  # type: ignore[arg-type]


def _refuse_unknown(name: str, classes: Sequence[str]) -> None:
    if name not in classes:
        more = ", …" if len(classes) > SHOWN else ""
        hint = did_you_mean(name, classes) or f"Classes are {', '.join(classes[:SHOWN])}{more}."
        raise UserError(f"the data has no class '{name}'", next_step=hint)
