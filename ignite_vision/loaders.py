"""Splits and a recipe become batches. A batch is uint8 until it is on the device.

Which images are in a batch, and every random number that belongs to them, follow from (seed, epoch, index) and the
trainer's iteration: not from the number of workers, nor from what was drawn before.
"""

from __future__ import annotations

import atexit
import ctypes
import dataclasses
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from ignite_vision import distributed, environment
from ignite_vision.augment import draws
from ignite_vision.errors import STOPPED, UserError
from ignite_vision.randomness import Purpose, generator, uniforms
from ignite_vision.recipe import Recipe
from ignite_vision.sources import Mapped, Request, Resident, Source, Views
from ignite_vision.splits import ImageFiles, Images

if TYPE_CHECKING:
    from ignite_vision.run import Run

Batch = tuple[torch.Tensor, ...]

# One fixed shape for every evaluation: the bits of a row depend on the batch size when it is small (below 16 in
# fp32), never on its neighbours.
MIN_EVAL_BATCH = 16
PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent ends
PREFETCH = 2  # batches that each worker prepares ahead: torch's default
SHM_SHARE = 0.8  # of the free shared memory that batches on their way may take


class Order(Sampler[Request]):
    """Requests of training: whole batches of each epoch's permutation; what is left over is dropped.

    With accumulation an epoch is a whole number of optimizer steps: no gradient is carried into the next.
    The position comes from `iteration()`, the trainer's own counter, so that a resumed run asks for the very next
    batch. share: (r, n) yields the r-th of n equal parts of each batch. Eager: a DataLoader with workers calls iter()
    twice.
    """

    def __init__(
        self,
        n: int,
        batch: int,
        seed: int,
        iteration: Callable[[], int],
        accumulate: int = 1,
        share: tuple[int, int] = (0, 1),
    ):
        self.n, self.batch, self.seed, self.iteration, self.accumulate = n, batch, seed, iteration, accumulate
        (self.rank, self.count) = share

    def __len__(self) -> int:
        return self.n // (self.batch * self.accumulate) * self.accumulate

    def __iter__(self) -> Iterator[Request]:
        epoch, start = divmod(self.iteration(), len(self))
        order = torch.randperm(self.n, generator=generator(self.seed, Purpose.ORDER, epoch)).numpy()
        begins = range(start * self.batch, len(self) * self.batch, self.batch)
        mine = self.batch // self.count
        return iter([(epoch, order[b + self.rank * mine : b + (self.rank + 1) * mine]) for b in begins])


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


class WorkerKilled(UserError):
    """A loader worker is gone: most likely the system ran out of memory and killed it."""

    def __init__(self) -> None:
        what = "a loader worker was killed, probably because memory ran out"
        super().__init__(what, next_step="Use fewer --workers; the same command goes on.", code=STOPPED)


class Loader(DataLoader[Batch]):
    """torch's DataLoader, which raises what a worker returned as a UserError. Eager, as Order is."""

    def __iter__(self) -> Any:
        if not self.num_workers and not self.pin_memory:  # nothing that torch's iterator would do but cost 30 us
            return map(self.dataset.__getitem__, iter(self.sampler))
        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGCHLD) if main and self.num_workers and hasattr(signal, "SIGCHLD") else None
        batches = super().__iter__()
        if before is not None:  # torch's handler would raise wherever the main thread is, in the middle of a step
            signal.signal(signal.SIGCHLD, before)
        return _whole(batches)

    def close(self) -> None:
        """End the workers now: left to the garbage collector after an error, they can take torch 5 s each."""
        shut_down = getattr(self._iterator, "_shutdown_workers", None)
        if shut_down is not None:
            shut_down()


def _whole(batches: Iterator[Batch | UserError]) -> Iterator[Batch]:
    """Pass batches on; raise what a worker returned as an error, and WorkerKilled when one is gone."""
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (RuntimeError, OSError, EOFError) as error:
            own = "Caught " in str(error)  # what a data set raised, with the worker's traceback in its text
            if not own and ("exited unexpectedly" in str(error) or isinstance(error, ConnectionError | EOFError)):
                raise WorkerKilled from error
            raise
        if isinstance(batch, UserError):
            raise batch
        yield batch


class TrainBatches(Dataset[Batch]):
    """Requests -> (images (N,C,S,S) uint8, targets (N,) int64, u (N,k) float32: the augmentation's draws)."""

    def __init__(self, source: Source, targets: torch.Tensor, seed: int, draws: int):
        self.source, self.targets, self.seed, self.draws = source, targets, seed, draws

    @errors_as_values
    def __getitem__(self, request: Request) -> Batch:
        epoch, index = request
        u = uniforms(self.seed, epoch, index, self.draws)
        return self.source[request], self.targets[torch.from_numpy(index)], u


class EvalBatches(Dataset[Batch]):
    """Requests -> (images, targets (n,) int64). Images are padded to one fixed `batch`; targets never are.

    So len(targets) says how many rows of the model's output count.
    """

    def __init__(self, source: Source, targets: torch.Tensor, batch: int):
        self.source, self.targets, self.batch = source, targets, batch

    @errors_as_values
    def __getitem__(self, request: Request) -> Batch:
        epoch, index = request
        last = index[-1:] if len(index) else np.zeros(1, dtype=np.int64)
        padded = np.concatenate([index, np.repeat(last, self.batch - len(index))])
        return self.source[epoch, padded], self.targets[torch.from_numpy(index)]


@dataclasses.dataclass(frozen=True)
class Loaders:
    """What the engines iterate over. batch: images per forward pass in training, over all processes."""

    train: Loader
    val: Loader
    batch: int

    def close(self) -> None:
        """End the workers of both."""
        self.train.close()
        self.val.close()


def train_batch(recipe: Recipe, n: int) -> int:
    """Images per forward pass in training, over all processes: a step never wants more images than there are.

    UserError when the processes cannot share it equally.
    """
    batch, processes = max(1, min(recipe.batch_size, n) // recipe.accumulate), distributed.count()
    if batch % processes and n > recipe.batch_size:
        hint = f"For example --batch-size {-(-batch // processes) * processes * recipe.accumulate}."
        raise UserError(f"batches of {batch} images cannot be shared equally by {processes} processes", next_step=hint)
    if batch < processes:
        raise UserError(f"{n} images are too few for {processes} processes", next_step="Use fewer.")
    return batch // processes * processes


def eval_batch(recipe: Recipe) -> int:
    """Images per forward pass everywhere else."""
    return max(recipe.batch_size, MIN_EVAL_BATCH)


def train_loader(run: Run, source: Source) -> Loader:
    """Whole batches in each epoch's own order, going on from the trainer's iteration."""
    recipe, targets = run.recipe, run.splits.train.targets
    batch = train_batch(recipe, len(targets))
    share = (distributed.rank(), distributed.count())
    order = Order(len(targets), batch, recipe.seed, lambda: run.trainer.state.iteration, recipe.accumulate, share)
    # features have their augmentation behind them
    count = 0 if isinstance(source, Views) else draws(recipe.augment)
    batches = TrainBatches(source, targets, recipe.seed, count)
    return _loader(run, batches, order, source, batch // distributed.count())


def eval_loader(run: Run, source: Source, targets: torch.Tensor, requests: list[Request] | None = None) -> Loader:
    """Every image of a split once, in order, in batches of one fixed shape; this process's share of them.

    requests: those instead, all of them.
    """
    batch = eval_batch(run.recipe)
    if requests is None:
        requests = shared(in_order(range(len(targets)), batch), distributed.rank(), distributed.count())
    return _loader(run, EvalBatches(source, targets, batch), requests, source, batch)


def _loader(
    run: Run, batches: Dataset[Any], order: Sampler[Request] | list[Request], source: Source, batch: int
) -> Loader:
    """batch_size=None: a request is one item, so a worker builds the whole batch at once."""
    workers = workers_for(run, source, batch)
    if workers:
        atexit.register(kill_workers)
    return Loader(
        batches,
        sampler=order,
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        pin_memory=run.device.type == "cuda" and not isinstance(source, Resident),
        # forked beside gloo's threads a worker may hang before it begins (seen)
        multiprocessing_context=multiprocessing.get_context("spawn" if distributed.count() > 1 else None)
        if workers
        else None,
        worker_init_fn=_begin_worker if workers else None,
        # spawned, they take seconds to start; kept, they need no set_epoch: the epoch travels with each request
        persistent_workers=workers > 0,
    )


def workers_for(run: Run, source: Source, batch: int) -> int:
    """Processes that a source needs: none for rows in memory, and no more than /dev/shm has room for."""
    if isinstance(source, Resident | Views) or (isinstance(source, Mapped) and run.device.type == "cpu"):
        return 0
    size = batch * run.preprocessing.channels * run.canvas.size**2
    room = int(SHM_SHARE * environment.free_shared_memory() / (size * (PREFETCH + 1)) / distributed.local_count())
    if room < run.workers:
        run.say(
            f"warning: {room} of {run.workers} loader workers: shared memory is small"
            f" ({environment.SHARED_MEMORY}). In Docker, pass --shm-size 2g."
        )
        run.workers = room  # said once: the run's other loaders ask for no more than this
    return run.workers


def _as_it_is(batch: Any) -> Any:
    return batch


def _begin_worker(_worker: int) -> None:
    """Leave signals to the main process, which saves first, and end when it ends: torch looks for that every 5 s."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if multiprocessing.get_start_method() == "fork" and parent is not None and os.getppid() != parent.pid:
            os._exit(1)  # it ended before this line


def kill_workers() -> None:
    """End every child at exit: Python would wait for ever for one that ignores SIGTERM."""
    for child in multiprocessing.active_children():
        child.kill()


def default_workers(device: torch.device, images: Images) -> int:
    """One per processor, but no more than eight: decoding is shared, the step takes the rest.

    None for files on a CPU: there the batch is decoded by threads, and nothing is gained by a process that waits
    for the same processors but pays for its copy of the memory (features of DenseNet-121: 37 s instead of 27).
    """
    if device.type == "cpu" and isinstance(images, ImageFiles):
        return 0
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)
