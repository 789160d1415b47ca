"""Images that cannot be read, left out before a split is cut: what `on_bad_image="skip"` means."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch

from ignite_vision.data.containers import Container
from ignite_vision.data.splits import Skipped, Splits
from ignite_vision.errors import UserError
from ignite_vision.system.process import processors

AT_ONCE = 64  # images that a thread takes
SHOWN = 5  # images named in a warning
MUCH = 0.5  # of a class: where more cannot be read, what is left may not be what the class is

Reasons = dict[tuple[str, str], str]
"""(id, class) of an image -> why it cannot be read."""


def unreadable_in(splits: Splits, rank: int = 0, count: int = 1) -> Reasons:
    """Decode every image whose reading means decoding, and return those that cannot be read.

    rank, count: this process's share of them, every count-th.
    """
    found: Reasons = {}
    for _, images in splits.items():
        if images.costly:
            found |= _unreadable(images, range(rank, len(images), count), splits.classes)
    return found


def _unreadable(images: Container, rows: range, classes: tuple[str, ...]) -> Reasons:
    def look(first: int) -> Reasons:
        bad: Reasons = {}
        for i in rows[first : first + AT_ONCE]:
            try:
                images[i]
            except UserError as error:
                reason = error.what.removeprefix("cannot read image: ")
                bad[images.sample_id(i), classes[int(images.targets[i])]] = reason
        return bad

    with ThreadPoolExecutor(min(8, processors()) if images.thread_safe else 1, "look") as pool:
        parts = pool.map(look, range(0, len(rows), AT_ONCE))
        return {key: reason for part in parts for key, reason in part.items()}


def without(splits: Splits, unread: Iterable[tuple[str, str]]) -> Splits:
    """The same without these images, (id, class) each, which `skipped` then lists.

    UserError if a class of train would have none left.
    """
    unread = set(unread)
    if not unread:
        return splits
    skipped: list[Skipped] = []
    parts = {}
    for name, images in splits.items():
        keys = [(images.sample_id(i), splits.classes[t]) for i, t in enumerate(images.targets.tolist())]
        kept = torch.tensor([key not in unread for key in keys], dtype=torch.bool)
        parts[name] = images.subset(torch.nonzero(kept)[:, 0])
        for i in torch.nonzero(~kept)[:, 0].tolist():
            skipped.append(Skipped(keys[i][0], keys[i][1], _bytes(images, i)))
    left = parts["train"].targets.bincount(minlength=len(splits.classes))
    before = splits.train.targets.bincount(minlength=len(splits.classes))
    for label in torch.nonzero((left == 0) & (before > 0))[:, 0].tolist():
        what = f"none of the {int(before[label])} images of class '{splits.classes[label]}' can be read"
        raise UserError(what, next_step="Replace them, or leave the class out with exclude.")
    return dataclasses.replace(splits, **parts, skipped=tuple(skipped))  # type: ignore[arg-type]


def _bytes(images: Container, i: int) -> str:
    """Size of the image's file as splits.csv has it; empty if nobody can tell."""
    with contextlib.suppress(UserError):
        size = images.file_size(i)
        return "" if size is None else str(size)
    return ""


def warnings_of(before: Splits, reasons: Mapping[tuple[str, str], str]) -> list[str]:
    """A line with the first five, and a line for each class of which more than half is gone. before: with them."""
    if not reasons:
        return []
    named = ", ".join(f"{sample} ({reason})" for (sample, _), reason in sorted(reasons.items())[:SHOWN])
    more = f" and {len(reasons) - SHOWN:,} more, all in splits.csv" if len(reasons) > SHOWN else ""
    noun = "image" if len(reasons) == 1 else "images"
    lines = [f"warning: skipped {len(reasons):,} {noun} that cannot be read: {named}{more}"]
    gone = Counter(label for _, label in reasons)
    labels = torch.cat([images.targets for _, images in before.items()])
    for label, n in zip(before.classes, labels.bincount(minlength=len(before.classes)).tolist(), strict=True):
        if gone[label] > MUCH * n:
            lines.append(f"warning: {gone[label]:,} of the {n:,} images of '{label}' cannot be read and are skipped")
    return lines
