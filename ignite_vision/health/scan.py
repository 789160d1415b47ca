"""One pass over all images, shared by processes: every image is decoded once, and a record of it is kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ignite_vision.data.hashing import perceptual_hash
from ignite_vision.data.images import FORMATS, inspect
from ignite_vision.errors import UserError
from ignite_vision.health.collection import Collection
from ignite_vision.health.measures import measure
from ignite_vision.health.records import MODES, RECORD, UNKNOWN, Records, code
from ignite_vision.loading.loaders import make_loader
from ignite_vision.system.progress import with_progress

BLOCK = 64  # images that a process takes at a time
FEW = 256  # images that are not worth starting processes
COMPLAINT = b"Corrupt JPEG data"  # libjpeg's, on stderr: it decodes what is left, and nobody else says so
CONTENT = RECORD["content"].itemsize  # bytes
PREFIX = "cannot read image: "


def scan(images: Collection, workers: int, say: Callable[[str], None]) -> Records:
    """Decode every image once. workers: processes beside this one. say: told how long it will take.

    114 bytes an image are kept; an image that cannot be read has its reason.
    """
    blocks: Any = [range(k, min(k + BLOCK, len(images))) for k in range(0, len(images), BLOCK)]
    reasons: dict[int, str] = {}
    rows = np.zeros(len(images), dtype=RECORD)
    loader: Any = make_loader(Blocks(images), blocks, workers if len(images) > FEW else 0, pin=False)
    with contextlib.closing(loader):
        for block, (found, problems) in with_progress(zip(blocks, loader, strict=True), len(blocks), "checking", say):
            rows[block.start : block.stop] = found
            reasons.update((k, sys.intern(reason)) for k, reason in problems.items())
    return Records(rows, reasons)


class Blocks(Dataset[Any]):
    """Records of the images of a range, and why some cannot be read."""

    def __init__(self, images: Collection):
        self.images = images

    def __getitem__(self, block: range) -> tuple[np.ndarray, dict[int, str]]:
        reasons: dict[int, str] = {}
        rows = np.zeros(len(block), dtype=RECORD)
        with complaints() as heard:
            for row, k in zip(rows, block, strict=True):
                try:
                    fill(row, self.images, k)
                except UserError as error:
                    reasons[k] = error.what.removeprefix(PREFIX)
                row["damaged"] = COMPLAINT in heard()
        return rows, reasons


def fill(row: Any, images: Collection, k: int) -> None:
    """Write the record of image k. UserError if it cannot be read; what is known until then is written."""
    container, i = images.place(k)
    row["format"] = row["mode"] = UNKNOWN
    path = container.path(i)
    if path is not None:
        row["bytes"] = container.file_size(i) or 0
        header = inspect(path)
        row["format"], row["mode"] = code(header.format, FORMATS), code(header.mode, MODES)
    pixels, _ = container[i]
    digest = container.content_digest(i) or hashlib.sha256(pixels.numpy().tobytes()).digest()
    row["content"] = digest[:CONTENT]
    row["height"], row["width"] = pixels.shape[1:]
    row["highest"] = pixels.permute(1, 2, 0).numpy().max()  # in the order of memory: 10 us instead of 200
    row["hash"] = perceptual_hash(pixels)
    for name, value in vars(measure(pixels)).items():
        row[name] = value
    row["readable"] = True


@contextlib.contextmanager
def complaints() -> Iterator[Callable[[], bytes]]:
    """Within, stderr goes to a file, whoever writes to it; what is yielded returns what came since it was last asked.

    For one thread of a process: libraries in C write to descriptor 2, which is the whole process's.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def heard() -> bytes:
            size = os.lseek(2, 0, os.SEEK_CUR)
            if not size:
                return b""
            os.lseek(2, 0, os.SEEK_SET)
            text = os.read(2, size)
            os.lseek(2, 0, os.SEEK_SET)
            os.ftruncate(2, 0)
            return text

        try:
            yield heard
        finally:
            os.dup2(kept, 2)
            os.close(kept)
