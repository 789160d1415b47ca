"""Images that belong together, and never on two sides of a split: of one patient, video or burst."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import torch

from ignite_vision.data.splits import NAMES, Splits
from ignite_vision.errors import UserError, did_you_mean


def numbered(names: Sequence[str], known: dict[str, int]) -> torch.Tensor:
    """Names of groups -> (N,) int64. An empty name is a group of its own. known: name -> number, gains new ones."""
    return torch.tensor([known.setdefault(name or f"\0{len(known)}", len(known)) for name in names], dtype=torch.int64)


def by_path(splits: Splits, rule: str, columns: Sequence[str] = ()) -> Splits:
    """The same with groups by a rule on each image's path.

    rule: `parent`, the name of the folder that holds the image, whatever its class; else a regular expression, whose
    first group, or whole match, names the group; an image whose path does not match stands alone. UserError if none
    does. columns: those of a manifest, for the message.
    """
    pattern = _pattern(r"([^/]+)/[^/]*$" if rule == "parent" else rule, columns)
    known: dict[str, int] = {}
    images, matched = {}, False
    for name, container in splits.items():
        found = [_group(pattern, container.sample_id(i)) for i in range(len(container))]
        matched = matched or any(found)
        images[name] = container.subset(range(len(container)))
        images[name].groups = numbered(found, known)
    if not matched:
        hint = did_you_mean(rule, columns) or _ways(columns)
        raise UserError(f"--group-by '{rule}' matches no image's path", next_step=hint)
    return dataclasses.replace(splits, **images)  # type: ignore[arg-type]


def _ways(columns: Sequence[str]) -> str:
    named = f", a column of the manifest ({', '.join(columns[:8])})" if columns else ""
    return f"Use parent{named}, or a regular expression on paths like 'cats/17.jpg'."


def _pattern(text: str, columns: Sequence[str]) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UserError(f"--group-by '{text}' is no regular expression: {error}", next_step=_ways(columns)) from error


def _group(pattern: re.Pattern[str], path: str) -> str:
    """The group of a path, or an empty string."""
    found = pattern.search(path)
    return "" if found is None else (found[1] if pattern.groups else found[0]) or ""


def refuse_crossing(splits: Splits) -> None:
    """UserError if a group is in two of the splits that the data itself gives."""
    seen: dict[int, str] = {}
    for name, images in splits.items():
        for i, group in enumerate([] if images.groups is None else images.groups.tolist()):
            if seen.setdefault(group, name) != name:
                what = f"the group of '{images.sample_id(i)}' is in {seen[group]} and in {name}"
                hint = f"Give all of it the same split ({', '.join(NAMES)}), or none to any image."
                raise UserError(what, next_step=hint)
