"""How a run resumes: the newest checkpoint that verifies, put into its objects."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import torch
from ignite.handlers import Checkpoint, ParamScheduler
from safetensors import SafetensorError

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.models.state import versioned
from ignite_vision.system import distributed
from ignite_vision.training.checkpoint import Damaged, clean, read_states, steps, verify
from ignite_vision.training.own_handlers import OwnHandlers
from ignite_vision.training.run import Run

# What torch and safetensors raise for a file that is not ours.
MISFITS = (SafetensorError, RuntimeError, EOFError, LookupError, TypeError, ValueError)


def restore(run: Run, own: OwnHandlers) -> None:
    """Put the newest good checkpoint, if there is one, into the run's objects, and rewind its history.

    Process 0 reads; the others need not see its disk. UserError (exit 3) for one that does not fit.
    """
    states, exact, path = distributed.from_first(lambda: read_newest(run))
    if not states:
        run.history.rewind(0)
        return
    rebuilt = load(run, states, path)
    # also if the command that asked for more epochs was killed before it saved
    run.history.exact = run.history.exact and exact and not rebuilt
    if rebuilt:
        run.say("note: no longer bit-exact from here; the schedule is now one for the new number of epochs")
    iteration = run.trainer.state.iteration
    run.history.rewind(iteration)
    refuse_gaps(run, path)
    own.resume()
    run.say(f"resumed    from step {iteration}, in epoch {epoch_of(run, iteration)} of {run.recipe.epochs}")


def load(run: Run, states: dict[str, Any], path: Path | None) -> bool:
    """Put states into the run's objects. Whether the schedule is rebuilt instead, for another number of epochs.

    UserError for states of other objects (exit 2) or that do not fit (exit 3).
    """
    objects = dict(run.saver.objects)
    if set(states) != set(objects):
        odd = ", ".join(sorted(set(states) ^ set(objects)))
        raise UserError(f"the checkpoint and the recipe's handlers differ in {odd}", path, "Choose another --out.")
    rates = None
    try:
        if states["trainer"]["max_epochs"] != run.recipe.epochs and depends_on_epochs(objects.get("scheduler")):
            rates = fast_forward(run, objects.pop("scheduler"), states["trainer"]["iteration"])
            del states["scheduler"]
        states["model"] = versioned(run.model, states["model"])
        Checkpoint.load_objects(to_load=objects, checkpoint=states)
    except MISFITS as error:
        raise misfit(path, error) from error
    for group, rate in zip(run.optimizer.param_groups, rates or (), strict=rates is not None):
        group.update(rate)
    return rates is not None


def depends_on_epochs(scheduler: Any) -> bool:
    """Whether a schedule is made for a number of steps. One that waits for a plateau is not."""
    return not isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau | None)


def fast_forward(run: Run, scheduler: Any, iteration: int) -> list[dict[str, Any]]:
    """Step a schedule that was built for another number of epochs to where the run is. The rates that it then gives.

    A schedule's own state belongs to the old length: half a cosine would climb again beyond its end.
    """
    last = len(run.loaders.train) * run.recipe.epochs  # a schedule may refuse to go further
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimizer did not step
        for _ in range(min(iteration, last) // run.recipe.accumulate):
            scheduler(run.trainer) if isinstance(scheduler, ParamScheduler) else scheduler.step()
    return [{name: value for name, value in group.items() if name != "params"} for group in run.optimizer.param_groups]


def epoch_of(run: Run, iteration: int) -> int:
    """The epoch that an iteration belongs to, counted from 1."""
    return max(1, -(-iteration // len(run.loaders.train)))


def refuse_gaps(run: Run, path: Path | None) -> None:
    """UserError (exit 3) if the history lacks an epoch that the checkpoint is behind: it was deleted, or edited."""
    iteration, epochs = run.trainer.state.iteration, [row.epoch for row in run.history.rows]
    complete = (iteration - 1) // len(run.loaders.train)  # the last may be without its row still
    validated = path is not None and path.name.endswith("-validated")
    lost = validated and not run.history.is_validated(iteration)
    if lost or len(epochs) < complete or epochs != list(range(1, len(epochs) + 1)):
        what = f"history.jsonl lacks epochs before iteration {iteration}, where the checkpoint is"
        raise UserError(what, run.history.path, "Restore it from a copy, or choose another --out.", code=DAMAGED)


def read_newest(run: Run) -> tuple[dict[str, Any], bool, Path | None]:
    """(states by name, whether they are exact, the checkpoint) of the newest that verifies, if there is one."""
    clean(run.directory.checkpoints)
    found = newest(run)
    if found is None:
        return {}, True, None
    path, manifest = found
    try:
        return read_states(path), manifest.get("exact", False) is True, path
    except MISFITS as error:
        raise misfit(path, error) from error


def newest(run: Run) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest checkpoint that verifies, with its manifest. Damaged ones are named and kept aside.

    UserError (exit 3) when there are checkpoints and none verifies.
    """
    damaged = []
    for path in reversed(steps(run.directory.checkpoints)):
        try:
            return path, verify(path)
        except Damaged as error:
            damaged.append(f"{path.name}: {error}")
            run.say(f"warning: skipping damaged checkpoint {path}: {error}")
            path.rename(path.with_name(f"damaged-{path.name}-{time.time_ns()}"))
    if damaged or any(run.directory.checkpoints.glob("damaged-*")):
        what = "no checkpoint verifies: " + ("; ".join(damaged) or "all are damaged")
        raise UserError(what, run.directory, "Restore them from a copy, or choose another --out.", code=DAMAGED)
    return None


def misfit(path: Path | None, error: Exception) -> UserError:
    """Return the error (exit 3) for a checkpoint that is whole but not of this run."""
    reason = " ".join(str(error).split(". ")[0].split())[:160]
    return UserError(f"the checkpoint does not fit this run: {reason}", path, "Choose another --out.", code=DAMAGED)
