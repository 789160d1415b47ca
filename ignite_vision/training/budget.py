"""A time budget: how many epochs fit into it, planned once from the speed that is measured."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import time

import torch
from ignite.engine import Engine, Events

from ignite_vision.errors import UserError
from ignite_vision.identity import fields_of
from ignite_vision.loading.batches import eval_batch
from ignite_vision.loading.loaders import Loader
from ignite_vision.loading.plan import Plan, Rows
from ignite_vision.models.head import freeze
from ignite_vision.prepare import Prepared, network_of
from ignite_vision.system import distributed
from ignite_vision.system.device import synchronize
from ignite_vision.training.run import build

FIRST = 3  # iterations that are timed first, but for the first of them: it also allocates
MEASURED = 2.0  # seconds of training that are timed then, and half of it of evaluation
SPARE = 0.05  # of the time for training: epochs differ, and saving costs up to 1 %
ENDING = 1.0  # seconds that curves, hashes and the files of a run take
SURE = 1.5  # times too much, estimated from the validation images, and the rest is not computed at all


@dataclasses.dataclass(frozen=True)
class Pace:
    """Seconds of one iteration of training, how many of them an epoch has, and seconds of one batch in evaluation."""

    step: float
    steps: int
    evaluation: float


def as_planned(prepared: Prepared) -> Prepared:
    """The same with the epochs that an earlier command planned for this run, if it did.

    UserError for a budget that is not the run's: its epochs are planned, and its schedule is made for them.
    """
    if prepared.options.budget is None:
        return prepared
    epochs = distributed.from_first(lambda: planned_before(prepared))  # the others need not see its disk
    if epochs is None:
        return prepared
    options = dataclasses.replace(prepared.options, budget=None)
    return with_epochs(dataclasses.replace(prepared, options=options), epochs)


def planned_before(prepared: Prepared) -> int | None:
    """The epochs in run.json, if the run is there and they are planned. UserError for another budget than the run's."""
    seconds, directory = prepared.options.budget, prepared.directory
    if not directory.exists():
        return None
    planned = directory.read_settings().get("time")
    if planned is None:
        raise UserError("this run began without --time", directory, "Leave it out, or choose another --out.")
    epochs: int | None = planned["epochs"]
    if epochs is not None and planned["seconds"] != seconds:
        what = f"this run was planned for {in_words(planned['seconds'])}: {epochs} epochs"
        raise UserError(what, directory, "Use --epochs N to train longer, or choose another --out.")
    return epochs


def within_budget(prepared: Prepared, plan: Plan, rows: Rows) -> Prepared:
    """The same with as many epochs as fit into the command's budget, at most the recipe's, written into run.json.

    What the epochs will read is computed here, on the budget. UserError when not even one epoch fits.
    """
    if prepared.options.budget is None:
        return prepared
    look_ahead(prepared, plan, rows)
    if plan.kind == "features":
        rows["test"]
    pace = measure(prepared, plan, rows)
    epochs = distributed.from_first(lambda: planned_epochs(prepared, pace))
    if distributed.is_first():
        write_plan(prepared, epochs)
    return with_epochs(prepared, epochs)


def with_epochs(prepared: Prepared, epochs: int) -> Prepared:
    """The same for another number of epochs, also for a later `resume`."""
    recipe = dataclasses.replace(prepared.recipe, epochs=epochs)
    return dataclasses.replace(prepared, recipe=recipe, overrides={**prepared.overrides, "epochs": str(epochs)})


def write_plan(prepared: Prepared, epochs: int) -> None:
    """Put the plan into run.json: what takes this run up again has these epochs, however fast it is then."""
    planned = with_epochs(prepared, epochs)
    changes = {
        "time": {"seconds": prepared.options.budget, "epochs": epochs},
        "recipe": fields_of(planned.recipe),
        "overrides": planned.overrides,
    }
    prepared.directory.write_settings(prepared.directory.read_settings() | changes)


def spent(prepared: Prepared) -> float:
    """Seconds since the command began."""
    return time.monotonic() - prepared.options.began


def look_ahead(prepared: Prepared, plan: Plan, rows: Rows) -> None:
    """Compute the validation rows. UserError if the others would take far more than what is left of the budget."""
    if plan.kind == "none":
        return
    splits, views = prepared.splits, prepared.recipe.views or 1
    began = time.monotonic()
    rows["val"]
    each = (time.monotonic() - began) / len(splits.val)
    todo = len(splits.train) * (views if plan.kind == "features" else 1)
    todo += len(splits.test) if plan.kind == "features" else 0
    needed = spent(prepared) + each * todo
    if distributed.from_first(lambda: needed > SURE * (prepared.options.budget or 0)):
        raise too_short(prepared, "before the first epoch", needed)


def measure(prepared: Prepared, plan: Plan, rows: Rows) -> Pace:
    """Time some iterations of training and of evaluation, with a model of its own: nothing of it stays."""
    loss, augment = copy.deepcopy((prepared.recipe.loss, prepared.recipe.augment))  # these may keep a count
    recipe, device = dataclasses.replace(prepared.recipe, loss=loss, augment=augment), prepared.device
    model = network_of(recipe, len(prepared.splits.classes), device, prepared.preprocessing.crop)
    frozen = freeze(model, recipe.trainable)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    scratch = dataclasses.replace(prepared, recipe=recipe, model=model, frozen=frozen)
    run = build(scratch, plan, rows)
    with contextlib.closing(run.loaders):
        step = seconds_each(run.trainer, run.loaders.train, device, MEASURED)
        evaluation = seconds_each(run.evaluator, run.loaders.val, device, MEASURED / 2)
    return Pace(step, len(run.loaders.train), evaluation)


def seconds_each(engine: Engine, loader: Loader, device: torch.device, most: float) -> float:
    """Seconds of an iteration: of a few, then of as many as take `most` seconds or are an epoch."""
    each = _timed(engine, loader, device, min(FIRST, len(loader)))
    count = distributed.from_first(lambda: math.ceil(most / max(each, 1e-6)))
    return _timed(engine, loader, device, min(count, len(loader))) if count > FIRST else each


def _timed(engine: Engine, loader: Loader, device: torch.device, count: int) -> float:
    """Seconds of each of `count` iterations; the first is not counted unless it is the only one."""
    times: list[float] = []

    def note(_engine: Engine) -> None:
        if len(times) in (0, 1, count):  # waiting for the device each time would be slower than the training is
            synchronize(device)
        times.append(time.perf_counter())

    with contextlib.ExitStack() as attached:
        for event in (Events.STARTED, Events.ITERATION_COMPLETED):
            attached.callback(engine.add_event_handler(event, note).remove)
        engine.run(loader, max_epochs=1, epoch_length=count)
    first = 1 if count > 1 else 0
    return (times[count] - times[first]) / (count - first)


def planned_epochs(prepared: Prepared, pace: Pace) -> int:
    """How many epochs fit into what is left of the budget, with the evaluation; said. UserError if none does."""
    seconds, recipe, splits = prepared.options.budget or 0.0, prepared.recipe, prepared.splits
    epoch = pace.step * pace.steps + pace.evaluation * evaluation_batches(prepared, len(splits.val))
    test = pace.evaluation * evaluation_batches(prepared, len(splits.test)) + ENDING
    before = spent(prepared)
    epochs = min(recipe.epochs, int((seconds - before - test) * (1 - SPARE) / epoch))
    if epochs < 1:
        raise too_short(prepared, "with one epoch and the evaluation", before + test + epoch / (1 - SPARE))
    whole = before + epochs * epoch + test
    most = f"all {epochs}" if epochs == recipe.epochs else f"{epochs} of {recipe.epochs}"
    prepared.say(
        f"time       {most} epochs of {in_words(epoch)}; with {in_words(before)} before and {in_words(test)} after"
        f" about {in_words(whole)} of {in_words(seconds)}"
    )
    return epochs


def evaluation_batches(prepared: Prepared, n: int) -> int:
    """Batches in which this process evaluates its share of n images."""
    return math.ceil(math.ceil(n / eval_batch(prepared.recipe, prepared.splits)) / distributed.count())


def too_short(prepared: Prepared, what: str, needed: float) -> UserError:
    """Return the error for a budget into which no epoch fits."""
    budget = in_words(prepared.options.budget or 0)
    fits = in_words(math.ceil(needed * 1.1))
    return UserError(
        f"--time {budget} is too short: it takes about {in_words(needed)} {what}", next_step=f"Use --time {fits}."
    )


def in_words(seconds: float) -> str:
    """`0.4s`, `41s`, `10m`, `1h05m`."""
    if seconds < 9.95:
        return f"{seconds:.1f}s" if seconds % 1 else f"{seconds:.0f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s" if rest else f"{minutes}m"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours}h{minutes:02d}m" if minutes else f"{hours}h"
