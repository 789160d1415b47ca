"""Hashes of images, kept where what can be computed again lives: whoever decodes a picture may leave its hash.

A record of 72 bytes for each image, known by its path, size and time; of a folder one file, whatever part of it is
asked for. Two commands that write at once lose what one of them found: it is computed again.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from ignite_vision.data.containers import Container
from ignite_vision.system.files import cache_home, replacing

MAKING = 3  # counted up when the hash or the file changes
KEPT = np.dtype([("image", "<u8"), ("hash", "<u8", (2, 4))])


def kept(images: Container) -> tuple[np.ndarray, np.ndarray]:
    """((N,2,4) uint64 as `perceptual_hash` has them, (N,) bool which are known). UserError if a file has vanished."""
    wanted, rows = images.identities(), _read(_place(images))
    if not len(rows):
        return np.zeros((len(images), 2, 4), dtype=np.uint64), np.zeros(len(images), dtype=bool)
    places = np.minimum(np.searchsorted(rows["image"], wanted), len(rows) - 1)
    known = rows["image"][places] == wanted
    return np.where(known[:, None, None], rows["hash"][places], np.uint64(0)), known


def keep(images: Container, places: np.ndarray, hashes: np.ndarray) -> None:
    """Keep (M,2,4) uint64, hashes of the images at (M,) places, beside those that are there; nothing on a full disk."""
    if not len(places):
        return
    place, new = _place(images), np.zeros(len(places), dtype=KEPT)
    new["image"] = images.identities()[places]
    new["hash"] = hashes
    rows = np.concatenate([new, _read(place)])
    rows = rows[np.unique(rows["image"], return_index=True)[1]]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place, f".{os.getpid()}") as temporary:
            rows.tofile(temporary)
    except OSError:
        pass  # they are computed again next time


def _read(place: Path) -> np.ndarray:
    """Rows of KEPT, sorted by image; none where there is no file, or one that is damaged."""
    try:
        rows = np.fromfile(place, KEPT)
        whole = rows.nbytes == place.stat().st_size and bool((rows["image"][1:] > rows["image"][:-1]).all())
    except OSError:
        whole = False
    return rows if whole else np.zeros(0, dtype=KEPT)


def _place(images: Container) -> Path:
    return cache_home() / f"hashes-{hashlib.sha256(images.home().encode()).hexdigest()[:16]}-{MAKING}"
