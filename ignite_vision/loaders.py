"""Splits and a recipe become batches. A batch is uint8 until it is on the device.

Which images are in a batch, and every random number that belongs to them, follow from (seed, epoch, index) and the
trainer's iteration: not from the number of workers, nor from what was drawn before.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ignite_vision.augment import draws
from ignite_vision.preprocessing import Preprocessing, canvas
from ignite_vision.randomness import Purpose, generator, seed_everything, uniforms
from ignite_vision.recipe import Recipe
from ignite_vision.splits import ArrayImages, DatasetImages, ImageFiles, Splits

# One fixed shape for every evaluation: the bits of a row depend on the batch size when it is small (below 16 in
# fp32), never on its neighbours.
MIN_EVAL_BATCH = 16
RESIDENT_SHARE = 0.25  # of the free memory that resident images may take

Images = ImageFiles | ArrayImages | DatasetImages
Request = tuple[int, np.ndarray]  # (epoch, image indices): what a loader asks a Source for


@dataclasses.dataclass(frozen=True)
class Canvas:
    """How an image becomes a square of uint8: what a cache holds. size: pixels per side."""

    preprocessing: Preprocessing
    size: int

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """(C,H,W) or (N,C,H,W) uint8 -> (...,c,size,size) uint8."""
        return canvas(image, self.preprocessing, self.size)


def canvas_of(recipe: Recipe, preprocessing: Preprocessing) -> Canvas:
    """Without augmentation only the centre crop is ever seen; a random crop needs what lies around it."""
    return Canvas(preprocessing, preprocessing.resize if recipe.augment else preprocessing.crop)


class Order(Sampler[Request]):
    """Requests of training: whole batches of each epoch's permutation; what is left over is dropped.

    With accumulation an epoch is a whole number of optimizer steps: no gradient is carried into the next.
    The position comes from `iteration()`, the trainer's own counter, so that a resumed run asks for the very next
    batch. Eager: a DataLoader with workers calls iter() twice.
    """

    def __init__(self, n: int, batch: int, seed: int, iteration: Callable[[], int], accumulate: int = 1):
        self.n, self.batch, self.seed, self.iteration, self.accumulate = n, batch, seed, iteration, accumulate

    def __len__(self) -> int:
        return self.n // (self.batch * self.accumulate) * self.accumulate

    def __iter__(self) -> Iterator[Request]:
        epoch, start = divmod(self.iteration(), len(self))
        order = torch.randperm(self.n, generator=generator(self.seed, Purpose.ORDER, epoch)).numpy()
        return iter([(epoch, order[k * self.batch : (k + 1) * self.batch]) for k in range(start, len(self))])


class InOrder(Sampler[Request]):
    """Requests of evaluation: every image once, in order; the last batch may be short."""

    def __init__(self, n: int, batch: int):
        self.n, self.batch = n, batch

    def __len__(self) -> int:
        return -(-self.n // self.batch)

    def __iter__(self) -> Iterator[Request]:
        index = np.arange(self.n)
        return iter([(0, index[k : k + self.batch]) for k in range(0, self.n, self.batch)])


class Decoded(Dataset[torch.Tensor]):
    """A Source that reads images when asked. [(epoch, (N,) indices)] -> (N,C,S,S) uint8."""

    def __init__(self, images: Images, to_canvas: Canvas, seed: int):
        self.images, self.to_canvas, self.seed = images, to_canvas, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, request: Request) -> torch.Tensor:
        epoch, index = request
        return torch.stack([self._one(epoch, int(i)) for i in index])

    def _one(self, epoch: int, i: int) -> torch.Tensor:
        if isinstance(self.images, DatasetImages):  # a data set of the user's own may draw random numbers
            seed_everything(self.seed, Purpose.SAMPLE, epoch, i)
        return self.to_canvas(self.images[i][0])


class Resident(Dataset[torch.Tensor]):
    """A Source in the device's memory. tensor: (N,...); [(epoch, (n,) indices)] -> (n,...) rows of it."""

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, request: Request) -> torch.Tensor:
        return self.tensor.index_select(0, torch.from_numpy(request[1]).to(self.tensor.device))


Source = Decoded | Resident


class TrainBatches(Dataset[tuple[torch.Tensor, ...]]):
    """Requests -> (images (N,C,S,S) uint8, targets (N,) int64, u (N,k) float32: the augmentation's draws)."""

    def __init__(self, source: Source, targets: torch.Tensor, seed: int, draws: int):
        self.source, self.targets, self.seed, self.draws = source, targets, seed, draws

    def __getitem__(self, request: Request) -> tuple[torch.Tensor, ...]:
        epoch, index = request
        u = uniforms(self.seed, epoch, index, self.draws)
        return self.source[request], self.targets[torch.from_numpy(index)], u


class EvalBatches(Dataset[tuple[torch.Tensor, ...]]):
    """Requests -> (images, targets (n,) int64). Images are padded to one fixed `batch`; targets never are.

    So len(targets) says how many rows of the model's output count.
    """

    def __init__(self, source: Source, targets: torch.Tensor, batch: int):
        self.source, self.targets, self.batch = source, targets, batch

    def __getitem__(self, request: Request) -> tuple[torch.Tensor, ...]:
        epoch, index = request
        padded = np.concatenate([index, np.repeat(index[-1:], self.batch - len(index))])
        return self.source[epoch, padded], self.targets[torch.from_numpy(index)]


@dataclasses.dataclass(frozen=True)
class Loaders:
    """What the engines iterate over. cache: resident or none, and why."""

    train: DataLoader[tuple[torch.Tensor, ...]]
    val: DataLoader[tuple[torch.Tensor, ...]]
    batch: int
    cache: str
    reason: str


def train_batch(recipe: Recipe, n: int) -> int:
    """Images per forward pass in training: an optimizer step never wants more images than there are."""
    return max(1, min(recipe.batch_size, n) // recipe.accumulate)


def make_loaders(
    recipe: Recipe,
    splits: Splits,
    to_canvas: Canvas,
    device: torch.device,
    workers: int,
    iteration: Callable[[], int],
) -> Loaders:
    """Build the training and validation loaders, from memory where the images fit there."""
    cache, reason = choose_cache(recipe, splits, to_canvas, device)
    train = make_source(splits.train, to_canvas, recipe.seed, cache, device)
    batch = train_batch(recipe, len(splits.train))
    order = Order(len(splits.train), batch, recipe.seed, iteration, recipe.accumulate)
    batches = TrainBatches(train, splits.train.targets, recipe.seed, draws(recipe.augment))
    return Loaders(
        train=_loader(batches, order, 0 if cache == "resident" else workers),
        val=eval_loader(recipe, splits.val, to_canvas, device, workers, cache),
        batch=batch,
        cache=cache,
        reason=reason,
    )


def eval_loader(
    recipe: Recipe, images: Images, to_canvas: Canvas, device: torch.device, workers: int, cache: str
) -> DataLoader[tuple[torch.Tensor, ...]]:
    """Every image of a split once, in order, in batches of one fixed shape."""
    batch = max(recipe.batch_size, MIN_EVAL_BATCH)
    source = make_source(images, to_canvas, recipe.seed, cache, device)
    batches = EvalBatches(source, images.targets, batch)
    return _loader(batches, InOrder(len(images), batch), 0 if cache == "resident" else workers)


def _loader(batches: Dataset[Any], order: Sampler[Request], workers: int) -> DataLoader[Any]:
    """batch_size=None: a request is one item, so a worker builds the whole batch at once."""
    return DataLoader(
        batches,
        sampler=order,
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        multiprocessing_context=multiprocessing.get_context() if workers else None,
        worker_init_fn=_ignore_signals if workers else None,
        persistent_workers=False,
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _ignore_signals(_worker: int) -> None:
    """Leave signals to the main process, which saves first: a worker that dies early takes that chance away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def make_source(images: Images, to_canvas: Canvas, seed: int, cache: str, device: torch.device) -> Source:
    """Read everything now (resident), or each image when its batch is asked for."""
    decoded = Decoded(images, to_canvas, seed)
    if cache == "none":
        return decoded
    if isinstance(images, ArrayImages):
        pixels = to_canvas(images.images[images.index])
    else:
        pixels = _decode_all(decoded)
    return Resident(pixels.to(device))


def _decode_all(source: Decoded) -> torch.Tensor:
    """Decode on one thread per processor: torchvision's decoder and resize let go of Python's lock."""
    from concurrent.futures import ThreadPoolExecutor

    first = source[0, np.arange(1)]
    pixels = first.new_empty((len(source), *first.shape[1:]))

    def fill(i: int) -> None:
        pixels[i] = source[0, np.array([i])][0]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(fill, range(len(source)), chunksize=64):
            pass
    return pixels


def choose_cache(recipe: Recipe, splits: Splits, to_canvas: Canvas, device: torch.device) -> tuple[str, str]:
    """(cache, why): resident if train and validation fit in a quarter of the free memory."""
    if isinstance(splits.train, DatasetImages) or isinstance(splits.val, DatasetImages):
        return "none", "a data set of its own class may change its images each time"
    if recipe.cache != "auto":
        return recipe.cache, f"cache={recipe.cache}"
    size = (len(splits.train) + len(splits.val)) * to_canvas.preprocessing.channels * to_canvas.size**2
    free = free_memory(device)
    fits = size <= RESIDENT_SHARE * free
    reason = f"{size / 2**20:,.0f} MiB of images, {free / 2**20:,.0f} MiB free"
    return ("resident" if fits else "none"), reason


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on the device now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def default_workers() -> int:
    """One per processor, but no more than eight: decoding is shared, the step takes the rest."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)
