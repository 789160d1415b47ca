"""Where the rows of a batch come from: decoded when asked for, in memory, or on disk.

A Source answers a request, (epoch, indices), with rows. Whichever kind it is, the rows are the same to the bit.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from ignite_vision.data import hash_store
from ignite_vision.data.containers import Container
from ignite_vision.data.hashing import perceptual_hash
from ignite_vision.data.images import inspect
from ignite_vision.data.preprocessing import Canvas
from ignite_vision.loading.cache import Shards, my_shares
from ignite_vision.randomness import Purpose, seed_everything
from ignite_vision.system.environment import versions
from ignite_vision.system.process import processors
from ignite_vision.system.progress import with_progress

DECODE_BLOCK, DECODE_AT_ONCE = 256, 16  # images that are begun together, and that one thread takes at a time

Request = tuple[int, np.ndarray]  # (epoch, (N,) image indices)


class Source(Dataset[torch.Tensor]):
    """Rows by request. A custom kind says of itself what the loaders have to know."""

    pinned = True  # whether batches lie in ordinary memory, from which a GPU copies faster when it is pinned
    augmented = False  # whether the recipe's augmentation is in the rows already

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, request: Request) -> torch.Tensor:
        raise NotImplementedError

    def wants_workers(self, device: torch.device) -> bool:
        """Whether loader workers make reading faster, for batches that go to `device`."""
        del device
        return True


class Decoded(Source):
    """Images read when asked for. (epoch, (N,) indices) -> (N,c,S,S) uint8."""

    def __init__(self, images: Container, to_canvas: Canvas, seed: int):
        self.images, self.to_canvas, self.seed = images.at_scale(to_canvas.least), to_canvas, seed
        self._hashes: tuple[np.ndarray, np.ndarray] | None = None  # (N,2,4) uint64, (N,) bool, in `leaving_hashes`

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, request: Request) -> torch.Tensor:
        epoch, index = request
        return torch.stack(list(self.rows(index.tolist(), epoch)))

    def rows(self, indices: Sequence[int], epoch: int = 0) -> Iterator[torch.Tensor]:
        """Yield these images in order, each (c,S,S) uint8."""
        if self.images.thread_safe and self.images.stable and get_worker_info() is None:
            return decode(self, indices)
        return (self.one(epoch, i) for i in indices)

    def one(self, epoch: int, i: int) -> torch.Tensor:
        """One image, (c,S,S) uint8."""
        if not self.images.stable:  # a custom data set may draw random numbers
            seed_everything(self.seed, Purpose.SAMPLE, epoch, i)
        pixels = self.images[i][0]
        kept = self._hashes  # a thread may come here when it is over
        if kept is not None and not kept[1][i] and is_whole(self.images.path(i), pixels):
            kept[0][i], kept[1][i] = perceptual_hash(pixels), True
        return self.to_canvas(pixels)

    @contextlib.contextmanager
    def leaving_hashes(self) -> Iterator[None]:
        """Within, files that this process decodes leave their hashes for those who look for near-duplicates.

        0.4 ms an image. A worker process leaves none: whoever wants them decodes again.
        """
        if not (self.images.stable and self.images.costly):
            yield
            return
        # one array for all: small ones, kept between what is freed again, would hold on to much memory
        hashes, known = self._hashes = hash_store.kept(self.images)
        before = known.copy()
        try:
            yield
        finally:
            self._hashes = None
            new = np.flatnonzero(known & ~before)
            hash_store.keep(self.images, new, hashes[new])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_hashes": None}


def is_whole(path: Path | None, pixels: torch.Tensor) -> bool:
    """Whether these are all pixels of a file, (C,H,W): a hash of fewer would differ in a bit or two. 0.1 ms."""
    if path is None:
        return True
    header = inspect(path)
    return header.width * header.height == pixels.shape[1] * pixels.shape[2]


class Resident(Source):
    """Rows in the device's memory. tensor: (N,...); (epoch, (n,) indices) -> (n,...), images in channels_last."""

    pinned = False

    def __init__(self, tensor: torch.Tensor):
        self.is_images = tensor.ndim == 4 and tensor.dtype == torch.uint8
        self.rows = tensor.permute(0, 2, 3, 1).contiguous() if self.is_images else tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, request: Request) -> torch.Tensor:
        rows = self.rows.index_select(0, torch.from_numpy(request[1]).to(self.rows.device))
        return rows.permute(0, 3, 1, 2) if self.is_images else rows

    def wants_workers(self, device: torch.device) -> bool:
        """Nothing to read."""
        del device
        return False


class Mapped(Source):
    """Rows in files, read at memory speed once the system has them in its cache. As Resident."""

    def __init__(self, shards: Shards):
        self.shards = shards

    def __len__(self) -> int:
        return self.shards.n

    def __getitem__(self, request: Request) -> torch.Tensor:
        return self.shards.gather(request[1])

    def wants_workers(self, device: torch.device) -> bool:
        """A GPU waits for the copy; on a CPU a worker would copy once more."""
        return device.type != "cpu"


class Views(Source):
    """Rows (N,V,...) of which epoch e uses view e mod V: features, behind the augmentation. source: of all views."""

    augmented = True

    def __init__(self, source: Source, views: int):
        self.source, self.views, self.pinned = source, views, source.pinned

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, request: Request) -> torch.Tensor:
        return self.source[request][:, request[0] % self.views]

    def wants_workers(self, device: torch.device) -> bool:
        """Features are small."""
        del device
        return False


def pixel_source(
    decoded: Decoded, kind: str, on_disk: bool, device: torch.device, say: Callable[[str], None]
) -> Source:
    """Rows of a split as a plan of this kind holds them; on disk, what is missing there is decoded now."""
    if kind == "none":
        return decoded
    pixels = decoded.images.pixels()
    if pixels is not None:
        return Resident(decoded.to_canvas(pixels).to(device))
    if not on_disk:
        with decoded.leaving_hashes():
            return Resident(_stacked(decoded.rows(range(len(decoded))), len(decoded)).to(device))
    shards = pixel_shards(decoded, say)
    return Mapped(shards) if kind == "pixels" else Resident(shards.read_all().to(device))


def decode(source: Decoded, indices: Sequence[int]) -> Iterator[torch.Tensor]:
    """Decode on one thread per processor: torchvision's decoder and resize let go of Python's lock.

    In blocks, so that a signal does not wait for thousands of images. Of a block a thread takes several images at
    a time: handed out one by one, small ones take a third longer than on one thread.
    """
    for block in _pieces(indices, DECODE_BLOCK):
        share = min(DECODE_AT_ONCE, len(block) // processors())
        decoded = _pool().map(lambda part: [source.one(0, i) for i in part], _pieces(block, max(share, 1)))
        yield from itertools.chain.from_iterable(decoded)


def _pieces(indices: Sequence[int], size: int) -> list[Sequence[int]]:
    return [indices[k : k + size] for k in range(0, len(indices), size)]


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(processors(), "decode")


def _stacked(rows: Iterator[torch.Tensor], n: int) -> torch.Tensor:
    """As torch.stack of n rows, without a second copy of them all on the way."""
    first = next(rows)
    out = torch.empty((n, *first.shape), dtype=first.dtype, memory_format=torch.channels_last)
    for place, row in zip(out, itertools.chain([first], rows), strict=True):
        place.copy_(row)
    return out


def pixel_shards(source: Decoded, say: Callable[[str], None]) -> Shards:
    """Every image decoded, on disk."""
    first = source.one(0, 0)
    key = {
        "images": source.images.stamp(),
        "canvas": source.to_canvas.key(),
        "versions": {name: versions()[name] for name in ("torch", "torchvision", "pillow")},
    }
    shards = Shards("pixels", key, len(source), tuple(first.shape), torch.uint8)
    for todo in my_shares(shards):
        with source.leaving_hashes():
            for k in with_progress(todo, len(todo), "decoding images", say):
                shards.write(k, torch.stack(list(source.rows(shards.rows(k)))))
    return shards
