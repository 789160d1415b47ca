"""What `check` found, as one HTML page without a script: thumbnails are inside, and nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ignite_vision.errors import UserError, printable
from ignite_vision.health.collection import Collection
from ignite_vision.health.duplicates import Pairs
from ignite_vision.health.scan import complaints
from ignite_vision.report.template import filled
from ignite_vision.report.thumbnails import thumbnail, webp

LEVELS = {"must": "Must fix", "look": "Look at", "note": "Note"}
SHOWN = 12  # pairs of a finding


def render(found: dict[str, Any], images: Collection, pairs: Pairs, looks: Mapping[str, str] | None = None) -> str:
    """The page. found: check.json. looks: id of an image whose label may be wrong -> what it looks like.

    Names of classes and files are text, whatever they hold.
    """
    galleries = {finding["kind"]: gallery(finding["kind"], images, pairs) for finding in found["findings"]}
    names = {name for finding in found["findings"] for name in finding["images"]}
    names |= {pair[side] for shown in galleries.values() for pair in shown for side in ("a", "b")}
    return filled(
        "check_page.html",
        ("check_page.css",),
        {},
        found=found,
        galleries=galleries,
        captions={"label_suspects": looks or {}},
        thumbnails={name: "" for name in names} | dict(thumbnails(images, names)),  # none of what `run` would skip
        verdict=verdict(found),
        levels=LEVELS,
        splits=[name for name, _ in images.parts],
        rows=list(class_rows(images)),
    )


def verdict(found: dict[str, Any]) -> str:
    """The page's answer in a few words."""
    levels = [finding["level"] for finding in found["findings"]]
    if "must" in levels:
        return "Fix this before training" if levels.count("must") == 1 else "Fix these before training"
    return "Nothing must be fixed" if levels else "Nothing was found"


def gallery(kind: str, images: Collection, pairs: Pairs) -> list[dict[str, str]]:
    """The first pairs of a finding about pairs, side by side; none for another finding."""
    targets, part = images.targets, images.part_of
    two_classes = targets[pairs.first] != targets[pairs.second]
    parts = np.stack([part[pairs.first], part[pairs.second]], axis=1)
    number = {name: k for k, (name, _) in enumerate(images.parts)}
    chosen = {
        "same_file_two_classes": two_classes & pairs.same_bytes,
        "alike_two_classes": two_classes & ~pairs.same_bytes,
        "leak_test": np.isin(parts, [number["train"], number.get("test", -1)]).all(1) & (parts[:, 0] != parts[:, 1]),
        "leak_val": np.isin(parts, [number["train"], number.get("val", -1)]).all(1) & (parts[:, 0] != parts[:, 1]),
        "near_duplicates": np.ones(len(pairs), dtype=bool),
        "burst": np.ones(len(pairs), dtype=bool),
    }.get(kind)
    return [] if chosen is None else list(side_by_side(images, pairs.where(chosen)))


def side_by_side(images: Collection, pairs: Pairs) -> Iterator[dict[str, str]]:
    """Yield the first pairs: ids, splits, and how alike they are."""
    for k in range(min(SHOWN, len(pairs))):
        i, j = int(pairs.first[k]), int(pairs.second[k])
        what = "the same file" if pairs.same_bytes[k] else f"{pairs.bits[k]} of 256 bits differ"
        labels = [images.classes[images.targets[place]] for place in (i, j)]
        what += ", mirrored" if pairs.mirrored[k] else ""
        what += f"; {labels[0]} and {labels[1]}" if labels[0] != labels[1] else ""
        yield {
            "a": images.name(i),
            "b": images.name(j),
            "split_a": images.split(i),
            "split_b": images.split(j),
            "what": what,
        }


def thumbnails(images: Collection, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (id, data URL) of these images; an empty one where it cannot be read."""
    wanted = set(names)
    with complaints():  # decoders repeat here what the scan has heard
        for k in range(len(images) if wanted else 0):
            name = images.name(k)
            if name in wanted:
                yield name, small(images, k)


def small(images: Collection, k: int) -> str:
    """Image k, small, as a data URL."""
    container, i = images.place(k)
    try:
        return webp(thumbnail(container[i][0]))
    except UserError:
        return ""


def class_rows(images: Collection) -> Iterator[dict[str, Any]]:
    """Yield each class with its number of images in each split."""
    number = len(images.classes)
    table = np.stack([np.bincount(part.targets.numpy(), minlength=number) for _, part in images.parts])
    for name, column in zip(images.classes, table.T.tolist(), strict=True):
        yield {"name": printable(name), "numbers": column}
