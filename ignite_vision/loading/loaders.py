"""torch's DataLoader over requests, for training and for evaluation, with workers where they help."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ignite_vision.augment import draws
from ignite_vision.data.preprocessing import Canvas
from ignite_vision.errors import UserError
from ignite_vision.loading.batches import (
    Batch,
    EvalBatches,
    Order,
    TrainBatches,
    in_order,
    shared,
    train_batch,
)
from ignite_vision.loading.sources import Request, Source
from ignite_vision.loading.workers import WorkerKilled, begin_worker, workers_for
from ignite_vision.prepare import Prepared, Reading
from ignite_vision.system import distributed
from ignite_vision.system.process import kill_children


class Loader(DataLoader[Batch]):
    """torch's DataLoader, which raises what a worker returned as a UserError. Eager, as Order is."""

    def __iter__(self) -> Any:
        if not self.num_workers and not self.pin_memory:  # nothing that torch's iterator would do but cost 30 us
            return map(self.dataset.__getitem__, iter(self.sampler))
        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGCHLD) if main and self.num_workers and hasattr(signal, "SIGCHLD") else None
        with _killed_workers_named():  # those kept from the epoch before are asked whether they are there
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
            with _killed_workers_named():
                batch = next(batches)
        except StopIteration:
            return
        if isinstance(batch, UserError):
            raise batch
        yield batch


@contextlib.contextmanager
def _killed_workers_named() -> Iterator[None]:
    """Within, what torch raises when a worker is gone is WorkerKilled."""
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        own = "Caught " in str(error)  # what a data set raised, with the worker's traceback in its text
        if not own and ("exited unexpectedly" in str(error) or isinstance(error, ConnectionError | EOFError)):
            raise WorkerKilled from error
        raise


@dataclasses.dataclass(frozen=True)
class Loaders:
    """What the engines iterate over."""

    train: Loader
    val: Loader

    def close(self) -> None:
        """End the workers of both."""
        self.train.close()
        self.val.close()


def train_loader(prepared: Prepared, source: Source, iteration: Callable[[], int]) -> Loader:
    """Whole batches in each epoch's own order. iteration: how many are done, so that a resumed run gets the next."""
    recipe, targets = prepared.recipe, prepared.splits.train.targets
    batch = train_batch(recipe, len(targets))
    share = (distributed.rank(), distributed.count())
    balance = targets if recipe.sampler == "balanced" else None
    order = Order(len(targets), batch, recipe.seed, iteration, recipe.accumulate, share, balance)
    count, weights = 0 if source.augmented else draws(recipe.augment), prepared.splits.train.weights
    batches = TrainBatches(source, targets, recipe.seed, count, weights)
    workers = workers_for(source, batch // distributed.count(), prepared.canvas, prepared.reading)
    return make_loader(batches, order, workers, pin=source.pinned and prepared.reading.on_gpu)


def eval_loader(
    source: Source,
    targets: torch.Tensor,
    batch: int,
    canvas: Canvas,
    reading: Reading,
    requests: list[Request] | None = None,
) -> Loader:
    """Every image once, in order, in batches of one fixed shape; this process's share of them.

    requests: those instead, all of them.
    """
    if requests is None:
        requests = shared(in_order(range(len(targets)), batch), distributed.rank(), distributed.count())
    workers = workers_for(source, batch, canvas, reading)
    return make_loader(EvalBatches(source, targets, batch), requests, workers, pin=source.pinned and reading.on_gpu)


def make_loader(batches: Dataset[Any], order: Sampler[Request] | list[Request], workers: int, pin: bool) -> Loader:
    """batch_size=None: a request is one item, so a worker builds the whole batch at once."""
    if workers:
        atexit.register(kill_children)
    return Loader(
        batches,
        sampler=order,
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        pin_memory=pin,
        # forked beside gloo's threads a worker may hang before it begins (seen)
        multiprocessing_context=multiprocessing.get_context("spawn" if distributed.count() > 1 else None)
        if workers
        else None,
        worker_init_fn=begin_worker if workers else None,
        # spawned, they take seconds to start; kept, they need no set_epoch: the epoch travels with each request
        persistent_workers=workers > 0,
    )


def _as_it_is(batch: Any) -> Any:
    return batch
