"""Rows computed once: decoded pixels and frozen features, as raw arrays in files of about 256 rows.

    $XDG_CACHE_HOME/ignite-vision/pixels-3fa9c1d2e4b5a697/00000.raw 00001.raw ... key.json

A file appears under its name only when it is whole, so interrupted writing continues and no lock is needed: two runs
that write the same file write the same bytes. The folder's name is a hash of everything that the rows depend on; a
changed image is another folder. A file of the wrong size is written again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ignite_vision.errors import NOT_SAVED, UserError
from ignite_vision.system import distributed
from ignite_vision.system.files import cache_home, replacing, write_atomically

MAKING = 2  # counted up when the reader, the canvas or the network's use gives other rows of the same key
SHARD_ROWS = 256  # about: few enough that several processes have something to share
SLACK = 1.1  # free disk space wanted, as a multiple of what is to be written
ABANDONED = 3600.0  # seconds since a file was last written to


class Shards:
    """n rows of one shape and dtype. key: JSON-plain, everything that the rows are a function of.

    batch: rows that are computed together; a file holds a whole number of batches.
    """

    def __init__(self, kind: str, key: Any, n: int, shape: tuple[int, ...], dtype: torch.dtype, batch: int = 1):
        self.folder = folder_of(kind, key)
        self.key, self.n, self.shape, self.dtype, self.batch = key, n, shape, dtype, batch
        self.row_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self.per_file = max(SHARD_ROWS // batch, 1) * batch
        self.count = -(-n // self.per_file)
        self._maps: dict[int, torch.Tensor] = {}

    @classmethod
    def on_disk(cls, kind: str, key: Any, n: int) -> Shards | None:
        """Return what an earlier run began to write under this key, or None."""
        try:
            facts = json.loads((folder_of(kind, key) / "key.json").read_text(encoding="utf-8"))
            return cls(kind, key, n, tuple(facts["shape"]), getattr(torch, facts["dtype"]), facts["batch"])
        except (OSError, ValueError, KeyError, AttributeError):  # nothing, or nothing of ours
            return None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}  # a worker maps the files itself

    def rows(self, k: int) -> range:
        """Row numbers in file k."""
        return range(k * self.per_file, min((k + 1) * self.per_file, self.n))

    def path(self, k: int) -> Path:
        """Where file k is."""
        return self.folder / f"{k:05}.raw"

    def missing(self) -> list[int]:
        """Files that are not there, or not whole."""
        return [k for k in range(self.count) if not self._is_whole(k)]

    def _is_whole(self, k: int) -> bool:
        try:
            return self.path(k).stat().st_size == len(self.rows(k)) * self.row_bytes
        except OSError:
            return False

    def write(self, k: int, rows: torch.Tensor) -> None:
        """Write file k in one step. UserError (exit 4) when the disk does not take it."""
        mark = f"{distributed.rank()}.{os.getpid()}"  # processes of several machines may have the same id
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "key.json").exists():
                dtype = str(self.dtype).removeprefix("torch.")
                facts = {"shape": self.shape, "dtype": dtype, "batch": self.batch, "key": self.key}
                write_atomically(self.folder / "key.json", json.dumps(facts, indent=1) + "\n", f".{mark}")
            with replacing(self.path(k), f".{mark}") as temporary:
                rows.contiguous().view(torch.uint8).numpy().tofile(temporary)
        except OSError as error:
            hint = "Free some space, set XDG_CACHE_HOME to another disk, or use --set cache=none."
            reason = error.strerror or str(error)
            raise UserError(f"cannot write the cache: {reason}", self.folder, hint, code=NOT_SAVED) from error

    def file(self, k: int) -> torch.Tensor:
        """File k as a tensor (rows, *shape) over its memory map: nothing is read before it is used."""
        if k not in self._maps:
            count = len(self.rows(k)) * self.row_bytes
            mapped = torch.from_file(str(self.path(k)), shared=False, size=count, dtype=torch.uint8)
            self._maps[k] = mapped.view(self.dtype).view(len(self.rows(k)), *self.shape)
        return self._maps[k]

    def gather(self, index: np.ndarray) -> torch.Tensor:
        """(N,) row numbers -> (N, *shape), a copy."""
        out = torch.empty((len(index), *self.shape), dtype=self.dtype)
        for place, i in enumerate(index.tolist()):
            out[place] = self.file(i // self.per_file)[i % self.per_file]
        return out

    def read_all(self) -> torch.Tensor:
        """(n, *shape): everything, in memory."""
        return torch.cat([self.file(k) for k in range(self.count)])


def clean(folder: Path) -> None:
    """Delete what killed commands left half written, and rows of which no key says what they are.

    What is younger than an hour may still be in the making.
    """
    if not (folder / "key.json").exists() and distributed.local_rank() == 0:
        for path in folder.glob("*.raw"):
            path.unlink(missing_ok=True)
    distributed.barrier()
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def my_shares(shards: Shards) -> Iterator[list[int]]:
    """Yield which missing files this process should make, and wait for those of the others.

    Twice: where the processes are on machines that do not share the cache folder, what others made is not there.
    """
    clean(shards.folder)
    if distributed.count() == 1:
        if todo := shards.missing():
            yield todo
        return
    for mine, among in (
        (distributed.rank(), distributed.count()),
        (distributed.local_rank(), distributed.local_count()),
    ):
        todo = shards.missing()
        distributed.barrier()  # everyone has looked before anyone writes
        if todo[mine::among]:
            yield todo[mine::among]
        distributed.barrier()


def folder_of(kind: str, key: Any) -> Path:
    """Folder of the rows that are a function of `key`."""
    text = json.dumps([MAKING, key], sort_keys=True)
    return cache_home() / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def has_room(size: int) -> bool:
    """Whether the cache folder's disk has room for this many bytes."""
    folder = cache_home()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free >= SLACK * size
