"""What `run` looks at by itself: numbers, names, headers and equal files. No pixel is decoded: 0.3 ms an image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ignite_vision.data.images import FORMATS, inspect
from ignite_vision.errors import UserError
from ignite_vision.health.classes import class_findings
from ignite_vision.health.collection import Collection
from ignite_vision.health.duplicates import same_content
from ignite_vision.health.faults import faults_of_headers
from ignite_vision.health.findings import Finding, counted, worst_first
from ignite_vision.health.records import MODES, RECORD, Records, code

FIELDS = np.dtype([(name, RECORD[name]) for name in ("bytes", "width", "height", "format", "mode", "readable")])
CONTENT = RECORD["content"]
MOST_LINES = 5


def quick(images: Collection) -> list[Finding]:
    """What is found without decoding, the worst first. Images that are no files are counted alone."""
    found = list(class_findings(images))
    if len(images) and all(inside.path(0) is not None for _, inside in images.parts if len(inside)):
        records = headers(images)
        found += faults_of_headers(images, records)
        found += equal_files(images, records.rows["bytes"])
    return worst_first(found)


def headers(images: Collection) -> Records:
    """Records of what the headers say; what cannot be read says nothing here: `data.integrity` finds it."""
    rows = np.zeros(len(images), dtype=FIELDS)
    for k in range(len(images)):
        container, i = images.place(k)
        try:
            size, header = container.file_size(i) or 0, inspect(container.path(i) or "")
        except UserError:
            continue
        kind, mode = code(header.format, FORMATS), code(header.mode, MODES)
        rows[k] = (size, header.width, header.height, kind, mode, True)
    return Records(rows, {})


def equal_files(images: Collection, sizes: np.ndarray) -> Iterator[Finding]:
    """Yield how many files are equal; those of one size alone are read. sizes: (N,) bytes."""
    _, group, times = np.unique(sizes, return_inverse=True, return_counts=True)
    suspected = (times[group] > 1) & (sizes > 0)
    content = np.zeros(len(images), dtype=CONTENT)
    for k in np.flatnonzero(suspected):
        container, i = images.place(int(k))
        content[k] = (container.content_digest(i) or b"")[: CONTENT.itemsize]
    pairs = same_content(content, suspected)
    if not len(pairs):
        return
    first, second = pairs.T
    two_classes = images.targets[first] != images.targets[second]
    across = int((images.part_of[first] != images.part_of[second]).sum())
    message = f"{counted(len(pairs), 'pair')} of equal files"
    message += f", {across:,} in two splits: a known picture counts as an unseen one" if across else ""
    message += (
        f", {int(two_classes.sum()):,} in two classes: one label of the two is wrong" if two_classes.any() else ""
    )
    names = images.names(pairs[two_classes].ravel() if two_classes.any() else pairs.ravel())
    example = f"{names[0]} is one"
    yield Finding("equal_files", "must" if two_classes.any() else "look", len(pairs), message, f"{example}.", names)


def spoken(found: list[Finding], command: str) -> Iterator[str]:
    """Yield findings as `run` says them, at most five lines. command: what says more."""
    shown = found if len(found) <= MOST_LINES else found[: MOST_LINES - 1]
    for finding in shown:
        yield f"{'note' if finding.level == 'note' else 'warning'}: {finding.line()}"
    if len(shown) < len(found):
        yield f"note: {len(found) - len(shown)} more findings about the images: {command}"
