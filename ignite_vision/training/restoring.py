"""How a run resumes: the newest checkpoint that verifies, put into its objects."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ignite.handlers import Checkpoint
from ignite.metrics import Metric
from safetensors import SafetensorError

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.models.state import versioned
from ignite_vision.system import distributed
from ignite_vision.training.checkpoint import Damaged, clean, read_states, steps, verify
from ignite_vision.training.handlers import fast_forward
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
    objects = dict(run.saver.objects)
    if set(states) != set(objects):
        odd = ", ".join(sorted(set(states) ^ set(objects)))
        raise UserError(f"the checkpoint and the recipe's handlers differ in {odd}", path, "Choose another --out.")
    rates = None
    try:
        if states["trainer"]["max_epochs"] != run.recipe.epochs and "scheduler" in objects:
            rates = fast_forward(run, states["trainer"]["iteration"] // run.recipe.accumulate)
            del states["scheduler"], objects["scheduler"]
        for name in [name for name, held in objects.items() if isinstance(held, Metric) and not _fits(states[name])]:
            del states[name], objects[name]
        states["model"] = versioned(run.model, states["model"])
        Checkpoint.load_objects(to_load=objects, checkpoint=states)
    except MISFITS as error:
        raise misfit(path, error) from error
    for group, rate in zip(run.optimizer.param_groups, rates or (), strict=bool(rates)):
        group.update(rate)
    run.history.exact = run.history.exact and exact
    iteration = run.trainer.state.iteration
    run.history.rewind(iteration)
    if iteration % len(run.loaders.train):
        own.resume_within_epoch()
    run.say(f"resumed    from step {iteration}, in epoch {run.trainer.state.epoch} of {run.recipe.epochs}")


def _fits(state: dict[str, Any]) -> bool:
    """Whether a metric's state is of as many processes as there are now: another number is not exact anyway."""
    (per_process,) = state.values()
    return len(per_process) == distributed.count()


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
