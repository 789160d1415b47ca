"""When a run is saved and how it goes on: its objects, its history and the checkpoints of checkpoint.py together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from shutil import disk_usage
from typing import Any

import torch
from ignite.engine import Events
from ignite.handlers import Checkpoint
from safetensors import SafetensorError

from ignite_vision.errors import DAMAGED, NOT_SAVED, UserError
from ignite_vision.run_directory import is_run
from ignite_vision.system import distributed, environment
from ignite_vision.training.checkpoint import CheckpointWriter, Damaged, clean, on_disk, read_states, steps, verify
from ignite_vision.training.engines import not_finite, state_that_changes
from ignite_vision.training.run import Run
from ignite_vision.training.settings import write_settings

SAVE_SHARE = 0.01  # of the time that saving may take
FIRST_SAVE = 10.0  # seconds before the first save, while its duration is not known
# What torch and safetensors raise for a file that is not ours.
MISFITS = (SafetensorError, RuntimeError, EOFError, LookupError, TypeError, ValueError)
RETRY = 60.0  # seconds until the next try after a save that failed


def save_checkpoints(run: Run) -> None:
    """Save when that costs no more than 1 % of the time, after the epoch's other handlers; run.save() saves now."""
    saver = Saver(run)
    run.save = saver.save
    every = run.recipe.accumulate  # between optimizer steps there are gradients that no checkpoint holds
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(every=every), saver.save_when_due)
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, saver.save_when_due)


class Saver:
    """Ignite's Checkpoint decides what is saved and which stay; this one decides when, and what a failure means."""

    def __init__(self, run: Run):
        self.run = run
        self.writer = CheckpointWriter(run.directory / "checkpoints", self.make_ready)
        self.keeper = Checkpoint(
            to_save(run),
            self.writer,
            filename_pattern="{global_step}",
            global_step_transform=lambda *_: step_name(run),
            score_function=lambda _: position(run),  # the newest are kept
            n_saved=run.keep_checkpoints,
        )
        self.keeper.load_state_dict({"_saved": on_disk(self.writer.folder)})
        self.due = time.monotonic() + FIRST_SAVE
        self.saved = ""

    def save(self) -> None:
        """Save now. UserError: not finite (exit 2), or the disk does not take it (exit 4); the one before stays."""
        run = self.run
        if self.saved == step_name(run):
            return
        if not all(tensor.isfinite().all() for tensor in state_that_changes(run).values()):
            raise not_finite(run, f"iteration {run.trainer.state.iteration} or before")
        begin = time.monotonic()
        self.writer.manifest = manifest_of(run)
        failure = None
        try:
            self.keeper(run.trainer)
        except (OSError, RuntimeError) as error:  # torch.save has no better name for a full disk
            self.writer.give_up(self.keeper)
            failure = cannot_save(run, error)
        if failure := distributed.from_first(lambda: failure):
            self.due = time.monotonic() + RETRY
            raise failure
        self.saved = step_name(run)
        seconds = time.monotonic() - begin
        run.stopwatch.saving += seconds
        self.due = time.monotonic() + seconds / SAVE_SHARE

    def make_ready(self) -> None:
        """Have on the disk what a checkpoint builds on. OSError if it cannot be."""
        if not is_run(self.run.directory):  # deleted while it trains
            self.run.directory.mkdir(parents=True, exist_ok=True)
            write_settings(self.run)
        self.run.history.settle()

    def save_when_due(self) -> None:
        """Save if it is time. A disk that does not take it is a warning: the run goes on."""
        iteration, validated = self.run.trainer.state.iteration, is_validated(self.run)
        if iteration % len(self.run.loaders.train) == 0 and not validated:
            return  # the epoch's own save is about to come, with its validation
        every = self.run.checkpoint_every
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
                self.run.say(f"warning: {error} Training goes on.")


def newest(run: Run) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest checkpoint that verifies, with its manifest. Damaged ones are named and kept aside.

    UserError (exit 3) when there are checkpoints and none verifies.
    """
    damaged = []
    for path in reversed(steps(run.directory / "checkpoints")):
        try:
            return path, verify(path)
        except Damaged as error:
            damaged.append(f"{path.name}: {error}")
            run.say(f"warning: skipping damaged checkpoint {path}: {error}")
            path.rename(path.with_name(f"damaged-{path.name}-{time.time_ns()}"))
    if damaged or any((run.directory / "checkpoints").glob("damaged-*")):
        what = "no checkpoint verifies: " + ("; ".join(damaged) or "all are damaged")
        raise UserError(what, run.directory, "Restore them from a copy, or choose another --out.", code=DAMAGED)
    return None


def restore(run: Run) -> None:
    """Put the newest good checkpoint, if there is one, into the run's objects, and rewind its history.

    Process 0 reads; the others need not see its disk.
    """
    states, exact, path = distributed.from_first(lambda: read_newest(run))
    if not states:
        run.history.rewind(0)
        return
    objects = to_save(run)
    if set(states) != set(objects):
        odd = ", ".join(sorted(set(states) ^ set(objects)))
        raise UserError(f"the checkpoint and the recipe's handlers differ in {odd}", path, "Choose another --out.")
    try:
        Checkpoint.load_objects(to_load=objects, checkpoint=states)
    except MISFITS as error:
        raise misfit(path, error) from error
    run.exact = run.exact and exact
    state = run.trainer.state
    run.history.rewind(state.iteration)
    run.say(f"resumed    from step {state.iteration}, in epoch {state.epoch} of {run.recipe.epochs}")


def read_newest(run: Run) -> tuple[dict[str, Any], bool, Path | None]:
    """(states by name, whether they are exact, the checkpoint) of the newest that verifies, if there is one."""
    clean(run.directory / "checkpoints")
    found = newest(run)
    if found is None:
        return {}, True, None
    path, manifest = found
    try:
        return read_states(path), manifest.get("exact", False) is True, path
    except MISFITS as error:
        raise misfit(path, error) from error


def misfit(path: Path | None, error: Exception) -> UserError:
    """Return the error (exit 3) for a checkpoint that is whole but not of this run."""
    reason = " ".join(str(error).split(". ")[0].split())[:160]
    return UserError(f"the checkpoint does not fit this run: {reason}", path, "Choose another --out.", code=DAMAGED)


def to_save(run: Run) -> dict[str, Any]:
    """Every object whose state decides how the run goes on."""
    objects = {"model": run.model, "optimizer": run.optimizer, "trainer": run.trainer, **run.persisted}
    if scaler := getattr(run.trainer.state, "scaler", None):  # of fp16's gradients
        objects["scaler"] = scaler
    return objects


def manifest_of(run: Run) -> dict[str, Any]:
    """What a manifest says of the run, besides its files."""
    return {
        "step": run.trainer.state.iteration,
        "epoch": run.trainer.state.epoch,
        "validated": is_validated(run),
        "best_epoch": run.best.epoch,
        "exact": run.exact,
        "environment": environment.record(run.device, run.precision),
    }


def cannot_save(run: Run, error: Exception) -> UserError:
    """Return the error (exit 4) for a save that failed: why, how much it needs and how much is free."""
    folder = run.directory
    while not folder.exists():
        folder = folder.parent
    tensors = (run.model.state_dict(), run.optimizer.state_dict(), run.best.weights)
    needed, free = size_of(tensors), disk_usage(folder).free
    if free < needed:
        reason = "the disk is full"
    elif "inline_container" in str(error):  # torch's way of saying so
        reason = "a file could not be written to its end"
    else:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
    what = f"iteration {run.trainer.state.iteration} is not saved: {reason}"
    hint = f"It needs {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free; earlier checkpoints are kept."
    return UserError(what, run.directory, hint, code=NOT_SAVED)


def size_of(state: Any) -> int:
    """Bytes of all tensors in a state dict."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, Mapping):
        return sum(size_of(value) for value in state.values())
    return sum(size_of(value) for value in state) if isinstance(state, list | tuple) else 0


def is_validated(run: Run) -> bool:
    """Whether the last finished iteration ended an epoch that has its history row."""
    return bool(run.history.rows) and run.history.rows[-1].iteration == run.trainer.state.iteration


def step_name(run: Run) -> str:
    """`step-0000001200`, and `-validated` after validation, so that a save during it collides with nothing."""
    return f"step-{run.trainer.state.iteration:010d}" + ("-validated" if is_validated(run) else "")


def position(run: Run) -> float:
    """Order of checkpoints: by iteration, validated after not."""
    return run.trainer.state.iteration + (0.5 if is_validated(run) else 0.0)
