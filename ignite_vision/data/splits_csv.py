"""splits.csv: written once, when a run begins; every later command restores the splits from it."""

from __future__ import annotations

import csv
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ignite_vision.data.containers import Container
from ignite_vision.data.splits import NAMES, Skipped, Splits, repeated
from ignite_vision.errors import UserError
from ignite_vision.system.files import replacing, write_rows

HEADER = ("path", "class", "split", "bytes")
SKIPPED = "skipped"  # stands where a split does, for an image that could not be read


def write_csv(splits: Splits, path: Path) -> None:
    """Write path, class, split and size of what `cut` returned: a row per image, train then val then test. Atomic.

    The size is in bytes, and empty for what is no file. Then a row for each image that was skipped.

    UTF-8; undecodable bytes of file names stay as they are (surrogateescape). UserError if two ids are equal.
    """
    if twice := _called_the_same(splits):
        raise UserError(f"two images are called '{twice}'", next_step="Give each ArrayImages its own name.")
    with replacing(path) as temporary:
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            write_rows(file, itertools.chain([HEADER], _rows(splits)))


def _all_named(splits: Splits) -> Iterator[tuple[str, str]]:
    """(id, class name) of every image. Made when asked for: a million of them would take 200 MB."""
    skipped = ((sample, label) for sample, label, _ in splits.skipped)
    return itertools.chain(*(_named(images, splits.classes) for _, images in splits.items()), skipped)


def _rows(splits: Splits) -> Iterator[tuple[str, str, str, str]]:
    """(id, class name, split, bytes) of every image."""
    for name, images in splits.items():
        for i, key in enumerate(_named(images, splits.classes)):
            size = images.file_size(i)
            yield (*key, name, "" if size is None else str(size))
    yield from ((sample, label, SKIPPED, size) for sample, label, size in splits.skipped)


def _called_the_same(splits: Splits) -> str | None:
    """Return an id that two images have: by 64-bit hashes, and by the ids themselves only if two of these agree."""
    hashes = np.sort(np.fromiter((hash(sample) for sample, _ in _all_named(splits)), dtype=np.int64))
    same = (hashes[1:] == hashes[:-1]).any()
    return repeated([sample for sample, _ in _all_named(splits)]) if same else None


def _named(images: Container, classes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(id, class name) of every image."""
    for i, target in enumerate(images.targets.tolist()):
        yield images.sample_id(i), classes[target]


def resized(splits: Splits, path: Path) -> list[str]:
    """What has another size than splits.csv says, as `'cats/1.jpg': 1,200 -> 1,300 bytes`. splits: as restored."""
    before = {sample: size for sample, _, _, size in read_csv(path)}
    found = []
    for _, images in splits.items():
        for i in range(len(images)):
            size, old = images.file_size(i), before.get(images.sample_id(i), "")
            if size is not None and old.isdigit() and size != int(old):
                found.append(f"'{images.sample_id(i)}': {int(old):,} -> {size:,} bytes")
    return found


def apply_csv(splits: Splits, path: Path) -> Splits:
    """Restore exactly the splits that `write_csv` wrote. splits: the data function's, uncut.

    Never cuts again. UserError if images vanished, appeared or changed class since then. Those that were skipped may
    have vanished, and stay skipped if they were repaired.
    """
    pools = {name: dict(splits.items()).get(name, splits.train) for name in NAMES}
    places = {
        pool: {key: i for i, key in enumerate(_named(pool, splits.classes))} for pool in dict.fromkeys(pools.values())
    }
    gone: list[str] = []
    found: dict[str, list[int]] = {name: [] for name in NAMES}
    skipped: list[Skipped] = []
    for sample, label, name, size in read_csv(path):
        if name == SKIPPED:
            skipped.append(Skipped(sample, label, size))
            for pool in places.values():
                pool.pop((sample, label), None)
            continue
        place = places[pools[name]].pop((sample, label), None)
        if place is None:
            gone.append(sample)
        else:
            found[name].append(place)
    new = [sample for place in places.values() for sample, _ in place]  # what no row has taken
    if gone or new:
        raise _changed(gone, new, path)
    restored: dict[str, Any] = {name: pool.subset(found[name]) for name, pool in pools.items()}
    return dataclasses.replace(splits, skipped=tuple(skipped), **restored)


def _changed(gone: list[str], new: list[str], path: Path) -> UserError:
    """Say what is no longer as splits.csv has it; an image that changed its class is both gone and new."""
    counts = [f"{len(ids)} {what}, the first '{ids[0]}'" for what, ids in (("gone", gone), ("new", new)) if ids]
    hint = "The data changed since this run began. Restore it, or start a new run with --out."
    return UserError(f"not the images of this run: {'; '.join(counts)}", path, hint)


def read_csv(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """(id, class, split, bytes) of every row; split: of NAMES, or SKIPPED. UserError if the file is damaged."""
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            if next(reader, None) != list(HEADER):
                raise ValueError(f"its first line is not {','.join(HEADER)}")
            for sample, label, name, size in reader:
                if name not in (*NAMES, SKIPPED):
                    raise ValueError(f"no split '{name}'")
                yield sample, label, name, size
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read the splits: {error}", path, "Restore the file from a copy.") from error
