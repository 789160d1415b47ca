"""Where the rows of a batch come from: decoded when asked for, in memory, on disk, or features of a frozen network.

A Source answers a request, (epoch, indices), with rows. Whichever kind it is, the rows are the same to the bit.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from ignite_vision.data.containers import ArrayImages, DatasetImages, ImageFiles, Images
from ignite_vision.data.preprocessing import Canvas, Preprocessing
from ignite_vision.loading.cache import Shards, key_of_images, my_shares, with_progress
from ignite_vision.loading.plan import Plan
from ignite_vision.randomness import Purpose, seed_everything
from ignite_vision.recipe import Recipe
from ignite_vision.system.environment import versions

DECODE_BLOCK, DECODE_AT_ONCE = 256, 16  # images that are begun together, and that one thread takes at a time

Request = tuple[int, np.ndarray]  # (epoch, (N,) image indices)


def canvas_of(recipe: Recipe, preprocessing: Preprocessing) -> Canvas:
    """Without augmentation only the centre crop is ever seen; a random crop needs what lies around it."""
    return Canvas(preprocessing, preprocessing.resize if recipe.augment else preprocessing.crop)


class Decoded(Dataset[torch.Tensor]):
    """Images read when asked for. (epoch, (N,) indices) -> (N,c,S,S) uint8."""

    def __init__(self, images: Images, to_canvas: Canvas, seed: int):
        self.images, self.to_canvas, self.seed = images, to_canvas, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, request: Request) -> torch.Tensor:
        epoch, index = request
        if get_worker_info() is None and isinstance(self.images, ImageFiles):
            return torch.stack(list(decode(self, index.tolist())))
        return torch.stack([self.one(epoch, i) for i in index.tolist()])

    def one(self, epoch: int, i: int) -> torch.Tensor:
        """One image, (c,S,S) uint8."""
        if isinstance(self.images, DatasetImages):  # a data set of the user's own may draw random numbers
            seed_everything(self.seed, Purpose.SAMPLE, epoch, i)
        return self.to_canvas(self.images[i][0])


class Resident(Dataset[torch.Tensor]):
    """Rows in the device's memory. tensor: (N,...); (epoch, (n,) indices) -> (n,...), images in channels_last."""

    def __init__(self, tensor: torch.Tensor):
        self.is_images = tensor.ndim == 4 and tensor.dtype == torch.uint8
        self.rows = tensor.permute(0, 2, 3, 1).contiguous() if self.is_images else tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, request: Request) -> torch.Tensor:
        rows = self.rows.index_select(0, torch.from_numpy(request[1]).to(self.rows.device))
        return rows.permute(0, 3, 1, 2) if self.is_images else rows


class Mapped(Dataset[torch.Tensor]):
    """Rows in files, read at memory speed once the system has them in its cache. As Resident."""

    def __init__(self, shards: Shards):
        self.shards = shards

    def __len__(self) -> int:
        return self.shards.n

    def __getitem__(self, request: Request) -> torch.Tensor:
        return self.shards.gather(request[1])


class Views(Dataset[torch.Tensor]):
    """Rows (N,V,...) of which epoch e uses view e mod V. source: Resident or Mapped."""

    def __init__(self, source: Resident | Mapped, views: int):
        self.source, self.views = source, views

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, request: Request) -> torch.Tensor:
        return self.source[request][:, request[0] % self.views]


Source = Decoded | Resident | Mapped | Views


def pixel_source(
    images: Images, to_canvas: Canvas, seed: int, plan: Plan, device: torch.device, say: Callable[[str], None]
) -> Source:
    """Make what the plan says: with pixels on disk it decodes what is missing there now."""
    decoded = Decoded(images, to_canvas, seed)
    if plan.kind == "none":
        return decoded
    if isinstance(images, ArrayImages):
        return Resident(to_canvas(images.images[images.index]).to(device))
    if not plan.on_disk:
        return Resident(_stacked(decode(decoded, range(len(images))), len(images)).to(device))
    shards = pixel_shards(decoded, say)
    return Mapped(shards) if plan.kind == "pixels" else Resident(shards.read_all().to(device))


def decode(source: Decoded, indices: Sequence[int]) -> Iterator[torch.Tensor]:
    """Decode on one thread per processor: torchvision's decoder and resize let go of Python's lock.

    In blocks, so that a signal does not wait for thousands of images. Of a block a thread takes several images at
    a time: handed out one by one, small ones take a third longer than on one thread.
    """
    for block in _pieces(indices, DECODE_BLOCK):
        share = min(DECODE_AT_ONCE, len(block) // (os.cpu_count() or 1))
        decoded = _pool().map(lambda part: [source.one(0, i) for i in part], _pieces(block, max(share, 1)))
        yield from itertools.chain.from_iterable(decoded)


def _pieces(indices: Sequence[int], size: int) -> list[Sequence[int]]:
    return [indices[k : k + size] for k in range(0, len(indices), size)]


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "decode")


def _stacked(rows: Iterator[torch.Tensor], n: int) -> torch.Tensor:
    """As torch.stack of n rows, without a second copy of them all on the way."""
    first = next(rows)
    out = torch.empty((n, *first.shape), dtype=first.dtype, memory_format=torch.channels_last)
    for place, row in zip(out, itertools.chain([first], rows), strict=True):
        place.copy_(row)
    return out


def pixel_shards(source: Decoded, say: Callable[[str], None]) -> Shards:
    """Every image decoded, on disk."""
    channels, size = source.to_canvas.preprocessing.channels, source.to_canvas.size
    first = source.one(0, 0)
    preprocessing = source.to_canvas.preprocessing
    key = {
        "images": key_of_images(source.images),
        "canvas": [preprocessing.resize, size, preprocessing.interpolation, channels],
        "versions": {name: versions()[name] for name in ("torch", "torchvision", "pillow")},
    }
    shards = Shards("pixels", key, len(source), tuple(first.shape), torch.uint8)
    for todo in my_shares(shards):
        for k in with_progress(todo, len(todo), "decoding images", say):
            shards.write(k, torch.stack(list(decode(source, shards.rows(k)))))
    return shards
