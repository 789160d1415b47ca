"""When a run is saved: Ignite's Checkpoint decides what and which, this decides when, and what a failure means."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from shutil import disk_usage
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint
from torch import nn

from ignite_vision.errors import NOT_SAVED, UserError
from ignite_vision.loading.plan import Plan
from ignite_vision.models.state import all_finite
from ignite_vision.models.weights import refuse_inflated
from ignite_vision.prepare import Prepared
from ignite_vision.system import distributed
from ignite_vision.system.environment import record
from ignite_vision.training.checkpoint import CheckpointWriter
from ignite_vision.training.engines import not_finite
from ignite_vision.training.history import History
from ignite_vision.training.scores import Best
from ignite_vision.training.settings import write_settings

SAVE_SHARE = 0.01  # of the time that saving may take
FIRST_SAVE = 10.0  # seconds before the first save, while its duration is not known
RETRY = 60.0  # seconds until the next try after a save that failed
# What a run keeps of itself; `run.persist` has other names.
RESERVED = (
    *("model", "model_extra", "optimizer", "trainer", "scaler", "sums", "scheduler", "best", "early_stopping"),
    *("history", "metrics", "own_handlers"),
)

# What torch.load gives back without running code.
CONTAINERS = (dict, OrderedDict, Counter, list, tuple, set, torch.Size)
PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Tensor, nn.Parameter)


class Saver:
    """Saves a run's objects: when that costs no more than 1 % of the time, or every N iterations, or now."""

    def __init__(
        self,
        prepared: Prepared,
        plan: Plan,
        optimizer: torch.optim.Optimizer,
        trainer: Engine,
        history: History,
        best: Best,
        epoch_length: int,
    ):
        self.prepared, self.plan, self.epoch_length = prepared, plan, epoch_length
        self.optimizer, self.trainer, self.history, self.best = optimizer, trainer, history, best
        self.objects: dict[str, Any] = {"model": prepared.model, "optimizer": optimizer, "trainer": trainer}
        if scaler := getattr(trainer.state, "scaler", None):  # of fp16's gradients
            self.objects["scaler"] = scaler
        n = prepared.options.keep_checkpoints
        self.writer = CheckpointWriter(prepared.directory.checkpoints, n, self._make_ready)
        self.keeper = Checkpoint(
            self.objects,  # this very dict: what is kept later is saved too
            self.writer,
            filename_pattern="{global_step}",
            global_step_transform=lambda *_: self.step_name,
            score_function=lambda _: self._position,  # the newest are kept
            greater_or_equal=True,  # the same step once more, with what a handler has changed since
            n_saved=n,
        )
        self.writer.take_over(self.keeper)
        self.due = time.monotonic() + FIRST_SAVE
        self.saved = ""
        self.only_after_epochs = False  # whether something has a state within an epoch that cannot be saved
        self._seconds = 0.0

    def keep(self, name: str, holder: Any) -> None:
        """Save this object's state as well. ValueError for a name that is taken."""
        if name in self.objects:
            raise ValueError(f"'{name}' is persisted already")
        self.objects[name] = holder

    def take_seconds(self) -> float:
        """Seconds of saving since this was last asked."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    @property
    def is_validated(self) -> bool:
        """Whether the last finished iteration ended an epoch that has its history row."""
        return self.history.is_validated(self.trainer.state.iteration)

    @property
    def may_save(self) -> bool:
        """Whether all that would be saved can be."""
        return self.is_validated or not self.only_after_epochs

    @property
    def step_name(self) -> str:
        """`step-0000001200`, and `-validated` after validation, so that a save during it collides with nothing."""
        return f"step-{self.trainer.state.iteration:010d}" + ("-validated" if self.is_validated else "")

    @property
    def _position(self) -> float:
        """Order of checkpoints: by iteration, validated after not."""
        return self.trainer.state.iteration + (0.5 if self.is_validated else 0.0)

    def save(self) -> None:
        """Save now. UserError: not finite (exit 2), or the disk does not take it (exit 4); the one before stays."""
        if (self.saved == self.step_name and not self.history.behind) or not self.may_save:
            return
        if not all_finite(self.prepared.model):
            where = f"iteration {self.trainer.state.iteration} or before"
            raise not_finite(where, self.optimizer, self.prepared.directory)
        for name, holder in self.objects.items():
            refuse_odd_state(name, holder)
        begin = time.monotonic()
        self.writer.manifest = self._manifest()
        failure = None
        try:
            self.keeper(self.trainer)
        except (OSError, RuntimeError) as error:  # torch.save has no better name for a full disk
            self.writer.give_up(self.keeper)
            failure = self._cannot_save(error)
        if failure := distributed.from_first(lambda: failure):
            self.due = time.monotonic() + RETRY
            raise failure
        self.saved = self.step_name
        seconds = time.monotonic() - begin
        self._seconds += seconds
        self.due = time.monotonic() + seconds / SAVE_SHARE

    def save_when_due(self) -> None:
        """Save if it is time. A disk that does not take it is a warning: the run continues."""
        iteration, validated = self.trainer.state.iteration, self.is_validated
        if not validated and (iteration % self.epoch_length == 0 or self.trainer.should_terminate):
            return  # the epoch's own save is about to come, with its validation
        every = self.prepared.options.checkpoint_every
        if every is None:
            (due,) = distributed.largest(distributed.is_first() and time.monotonic() > self.due)
        else:
            due = validated or iteration % every == 0
        if due:
            try:
                self.save()
            except UserError as error:
                if error.code != NOT_SAVED:
                    raise
                self.prepared.say(f"warning: {error} Training continues.")

    def _make_ready(self) -> None:
        """Have on the disk what a checkpoint builds on. OSError if it cannot be."""
        if not self.prepared.directory.exists():  # deleted while it trains
            self.prepared.directory.path.mkdir(parents=True, exist_ok=True)
            write_settings(self.prepared, self.plan)
        self.history.settle()

    def _manifest(self) -> dict[str, Any]:
        """What a manifest says of the run, besides its files."""
        return {
            "step": self.trainer.state.iteration,
            "epoch": self.trainer.state.epoch,
            "validated": self.is_validated,
            "best_epoch": self.best.epoch,
            "exact": self.history.exact,
            "environment": record(self.prepared.device, self.prepared.precision),
        }

    def _cannot_save(self, error: Exception) -> UserError:
        """Return the error (exit 4) for a save that failed: why, how much it needs and how much is free."""
        folder = self.prepared.directory.path
        while not folder.exists():
            folder = folder.parent
        needed = size_of((self.prepared.model.state_dict(), self.optimizer.state_dict(), self.best.weights))
        free = disk_usage(folder).free
        if free < needed:
            reason = "the disk is full"
        elif "inline_container" in str(error):  # torch's way of saying so
            reason = "a file could not be written to its end"
        else:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
        what = f"iteration {self.trainer.state.iteration} is not saved: {reason}"
        hint = f"It needs {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free; earlier checkpoints are kept."
        return UserError(what, self.prepared.directory, hint, code=NOT_SAVED)


def save_checkpoints(saver: Saver) -> None:
    """Save when it is due, after the other handlers of the iteration and of the epoch."""
    every = saver.prepared.recipe.accumulate  # between optimizer steps there are gradients that no checkpoint holds
    saver.trainer.add_event_handler(Events.ITERATION_COMPLETED(every=every), saver.save_when_due)
    saver.trainer.add_event_handler(Events.EPOCH_COMPLETED, saver.save_when_due)


def refuse_odd_state(name: str, holder: Any) -> None:
    """UserError for a state that could be written but not read again: a checkpoint is read without running code."""
    try:
        odd = first_odd(holder.state_dict())
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        odd = " ".join(str(error).split())
    if odd:
        hint = "Let its state_dict return tensors, numbers, texts, and lists or dicts of these."
        raise UserError(f"the state of '{name}' cannot be saved: {odd}", next_step=hint)


def first_odd(state: Any) -> str:
    """Say what in a state dict is no tensor and no plain value; an empty text if there is no such thing."""
    if type(state) in CONTAINERS:
        parts = [*state, *state.values()] if isinstance(state, dict) else state
        return next(filter(None, map(first_odd, parts)), "")
    try:
        refuse_inflated(state)  # as when it is read
    except ValueError as error:
        return str(error)
    return "" if type(state) in PLAIN else f"it holds a {type(state).__name__}"


def size_of(state: Any) -> int:
    """Bytes of all tensors in a state dict."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, Mapping):
        return sum(size_of(value) for value in state.values())
    return sum(size_of(value) for value in state) if isinstance(state, list | tuple) else 0
