"""Splits and a recipe become batches. A batch is uint8 until it is on the device.

Which images are in a batch, and every random number that belongs to them, follow from (seed, epoch, index) and the
trainer's iteration: not from the number of workers, nor from what was drawn before.
"""

from __future__ import annotations

import atexit
import dataclasses
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ignite_vision.augment import draws
from ignite_vision.errors import UserError
from ignite_vision.loading.sources import Request, Resident, Source, Views
from ignite_vision.system import distributed

if TYPE_CHECKING:
    from ignite_vision.training.run import Run
from ignite_vision.loading.batches import (
    Batch,
    EvalBatches,
    Order,
    TrainBatches,
    eval_batch,
    in_order,
    shared,
    train_batch,
)
from ignite_vision.loading.workers import WorkerKilled, _begin_worker, kill_workers, workers_for


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


def _as_it_is(batch: Any) -> Any:
    return batch
