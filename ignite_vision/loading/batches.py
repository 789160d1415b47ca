"""Which images are in a batch, and what a batch holds: uint8 until it is on the device.

Both follow from (seed, epoch, index) and the trainer's iteration: not from the number of workers, nor from what was
drawn before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler, get_worker_info

from ignite_vision.data.balance import balanced_order
from ignite_vision.data.splits import Splits
from ignite_vision.errors import UserError
from ignite_vision.loading.sources import Request, Source
from ignite_vision.randomness import Purpose, generator, uniforms
from ignite_vision.recipe import Recipe
from ignite_vision.system import distributed

Batch = tuple[torch.Tensor, ...]

# One fixed shape for every evaluation: the bits of a row depend on the batch size when it is small (below 16 in
# fp32), never on its neighbours.
MIN_EVAL_BATCH = 16


class Order(Sampler[Request]):
    """Requests of training: whole batches of each epoch's permutation; what is left over is dropped.

    With accumulation an epoch is a whole number of optimizer steps: no gradient is carried into the next.
    The position comes from `iteration()`, the trainer's own counter, so that a resumed run asks for the very next
    batch. share: (r, n) yields the r-th of n equal parts of each batch. Eager: a DataLoader with workers calls iter()
    twice.
    balance: (n,) classes, which are drawn equally often instead; a request has image + n * repeat then.
    """

    def __init__(
        self,
        n: int,
        batch: int,
        seed: int,
        iteration: Callable[[], int],
        accumulate: int = 1,
        share: tuple[int, int] = (0, 1),
        balance: torch.Tensor | None = None,
    ):
        self.n, self.batch, self.seed, self.iteration, self.accumulate = n, batch, seed, iteration, accumulate
        (self.rank, self.count), self.balance = share, balance

    def __len__(self) -> int:
        return self.n // (self.batch * self.accumulate) * self.accumulate

    def __iter__(self) -> Iterator[Request]:
        epoch, start = divmod(self.iteration(), len(self))
        order = self._order(epoch)
        begins = range(start * self.batch, len(self) * self.batch, self.batch)
        mine = self.batch // self.count
        return iter([(epoch, order[b + self.rank * mine : b + (self.rank + 1) * mine]) for b in begins])

    def _order(self, epoch: int) -> np.ndarray:
        if self.balance is not None:
            return balanced_order(self.balance, self.seed, epoch)
        return torch.randperm(self.n, generator=generator(self.seed, Purpose.ORDER, epoch)).numpy()


def shared(requests: list[Request], rank: int, count: int) -> list[Request]:
    """Process `rank`'s block of the requests: as many for each, so that all go in step; some may be empty."""
    most = -(-len(requests) // count)
    mine = requests[rank * most : (rank + 1) * most]
    return mine + [(0, np.empty(0, dtype=np.int64))] * (most - len(mine))


def in_order(rows: range, batch: int) -> list[Request]:
    """Requests of evaluation: every row once, in order; the last may be short."""
    index = np.arange(rows.start, rows.stop)
    return [(0, index[k : k + batch]) for k in range(0, len(index), batch)]


def errors_as_values(read: Callable[[Any, Request], Batch]) -> Callable[[Any, Request], Any]:
    """Return a UserError from a worker instead of raising it: torch would make a traceback of it, as text."""

    @functools.wraps(read)
    def careful(batches: Any, request: Request) -> Any:
        try:
            return read(batches, request)
        except UserError as error:
            if get_worker_info() is None:
                raise
            return error

    return careful


def padded(index: np.ndarray, batch: int) -> np.ndarray:
    """(n,) indices -> (batch,): the last one again and again; that of the first image where there is none."""
    last = index[-1:] if len(index) else np.zeros(1, dtype=np.int64)
    return np.concatenate([index, np.repeat(last, batch - len(index))])


class TrainBatches(Dataset[Batch]):
    """Requests -> (images (N,C,S,S) uint8, targets (N,) int64, u (N,k) float32: the augmentation's draws).

    And weights (N,) float32 where images have some. A repeat of an image in one epoch, see Order, is augmented in
    another way.
    """

    def __init__(
        self, source: Source, targets: torch.Tensor, seed: int, draws: int, weights: torch.Tensor | None = None
    ):
        self.source, self.targets, self.seed, self.draws, self.weights = source, targets, seed, draws, weights

    @errors_as_values
    def __getitem__(self, request: Request) -> Batch:
        epoch, index = request
        u = uniforms(self.seed, epoch, index, self.draws)
        index = index % len(self.targets)
        rows = torch.from_numpy(index)
        weighed = () if self.weights is None else (self.weights[rows],)
        return self.source[epoch, index], self.targets[rows], u, *weighed


class EvalBatches(Dataset[Batch]):
    """Requests -> (images, targets (n,) int64). Images are padded to one fixed `batch`; targets never are.

    So len(targets) says how many rows of the model's output count.
    """

    def __init__(self, source: Source, targets: torch.Tensor, batch: int):
        self.source, self.targets, self.batch = source, targets, batch

    @errors_as_values
    def __getitem__(self, request: Request) -> Batch:
        epoch, index = request
        return self.source[epoch, padded(index, self.batch)], self.targets[torch.from_numpy(index)]


def train_batch(recipe: Recipe, n: int) -> int:
    """Images per forward pass in training, over all processes: a step never wants more images than there are.

    UserError when the processes cannot share it equally.
    """
    batch, processes = max(1, min(recipe.batch_size, n) // recipe.accumulate), distributed.count()
    if batch % processes and n > recipe.batch_size:
        hint = f"For example --batch-size {-(-batch // processes) * processes * recipe.accumulate}."
        raise UserError(f"batches of {batch} images cannot be shared equally by {processes} processes", next_step=hint)
    if batch < processes:
        raise UserError(f"{n} images are too few for {processes} processes", next_step="Use fewer processes.")
    return batch // processes * processes


def eval_batch(recipe: Recipe, splits: Splits) -> int:
    """Images per forward pass everywhere else: the batch size, but no more than the largest split has images."""
    largest = max(len(images) for _, images in splits.items())
    return max(min(recipe.batch_size, largest), MIN_EVAL_BATCH)


def batches_per_epoch(recipe: Recipe, n: int) -> int:
    """Forward passes of an epoch over n training images: a whole number of optimizer steps."""
    return n // (train_batch(recipe, n) * recipe.accumulate) * recipe.accumulate
