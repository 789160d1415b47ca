"""A whole command's work: train and evaluate, or rehearse it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ignite_vision import models
from ignite_vision.data.integrity import unreadable
from ignite_vision.data.splits import content_hash, fingerprint, sample_digests
from ignite_vision.data.splits_csv import resized, write_csv
from ignite_vision.errors import BAD_INPUT, UserError
from ignite_vision.evaluation.calibration import MIN_IMAGES, abstain_below, fit_temperature
from ignite_vision.evaluation.coverage import Fitted, fit_thresholds
from ignite_vision.evaluation.metrics import TABLES, metrics
from ignite_vision.evaluation.predictions import Predictions, predict
from ignite_vision.evaluation.tables import json_plain, write_results
from ignite_vision.health.collection import Collection
from ignite_vision.health.quick import quick, spoken
from ignite_vision.identity import fields_of
from ignite_vision.loading.batches import eval_batch
from ignite_vision.loading.plan import Plan, Rows, choose
from ignite_vision.models.header import TASK
from ignite_vision.models.model_file import read_header, write_model
from ignite_vision.models.state import versioned
from ignite_vision.prepare import Prepared
from ignite_vision.report.board import write_for_tensorboard
from ignite_vision.report.curves import write_curves
from ignite_vision.run_data import REPLACE_OR_SKIP
from ignite_vision.system import distributed
from ignite_vision.training import fit
from ignite_vision.training.budget import as_planned, within_budget
from ignite_vision.training.engines import make_evaluator
from ignite_vision.training.history import History, read_history
from ignite_vision.training.run import Run, build
from ignite_vision.training.settings import changed_environment, changed_sources, refuse_changes, write_settings

REHEARSED_BATCHES = 2


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a training ended: the numbers of the test split, and whether all was done before this command."""

    metrics: dict[str, Any]
    epochs: int
    stopped_early: bool
    finished_before: bool = False


@dataclasses.dataclass(frozen=True)
class Before:
    """What earlier commands left: nothing, how the run ended if it did, and whether it can still become exact."""

    new: bool = False
    outcome: Outcome | None = None
    exact: bool = True


def train_and_evaluate(prepared: Prepared, announce: Callable[[Prepared, Plan], None]) -> Outcome:
    """Train to the end and evaluate the best epoch on the test split. announce: called before anything is computed."""
    with prepared.directory.claimed(prepared.say):
        agree_on_data(prepared)
        prepared = as_planned(prepared)
        before = distributed.from_first(lambda: take_up(prepared))
        if before.outcome is not None:
            return before.outcome
        if before.new:  # said by process 0: the others need not see its disk
            refuse_unreadable(prepared)
            say_findings(prepared)
        plan = choose(prepared)
        if before.new:
            write_settings(prepared, plan)
        announce(prepared, plan)
        rows = Rows(prepared, plan)
        run = build(within_budget(prepared, plan, rows), plan, rows)
        run.history.exact = before.exact
        fit(run)
        return finish(run)


def agree_on_data(prepared: Prepared) -> None:
    """UserError if a process has other images than the first: another machine's folder differs."""
    if distributed.count() > 1 and len(set(distributed.gather(fingerprint(prepared.splits)))) > 1:
        raise UserError("the processes do not have the same images", prepared.data, "Copy the data to every machine.")


def refuse_unreadable(prepared: Prepared) -> None:
    """UserError that names the first image file that is cut off, in any split: not after all the training."""
    found = distributed.from_first(lambda: [bad for _, images in prepared.splits.items() for bad in unreadable(images)])
    if found:
        (path, reason), many = found[0], len(found) > 1
        what = f"{len(found):,} image files cannot be read, the first" if many else "an image file cannot be read"
        raise UserError(f"{what}: {reason}", path, REPLACE_OR_SKIP)


def say_findings(prepared: Prepared) -> None:
    """Say in process 0 what numbers, names, headers and equal files show: at most five lines."""
    if distributed.is_first():
        place = f" --data {prepared.options.data}" if prepared.options.data else ""
        for line in spoken(quick(Collection(prepared.splits)), f"ignite-vision check {prepared.loaded.spec}{place}"):
            prepared.say(line)


def take_up(prepared: Prepared) -> Before:
    """Check a run that exists against this command, and say what differs. UserError for what cannot be continued.

    For process 0: it writes.
    """
    directory = prepared.directory
    if not directory.exists():
        return Before(new=True)
    settings = directory.read_settings()
    accept_replaced_test_images(prepared, settings)
    refuse_changes(prepared, settings)
    history = read_history(directory.history)
    outcome = outcome_of(prepared, history)
    sources = changed_sources(prepared, settings)
    if outcome is not None and sources:
        what = f"the recipe's code changed since this run finished: {', '.join(sources)}"
        hint = "Undo that, or choose another --out. `ignite-vision evaluate` still evaluates its model."
        raise UserError(what, directory, hint)
    if outcome is not None:
        return Before(outcome=outcome)
    changes = changed_environment(settings, prepared.device, prepared.precision) + sources
    if changes:
        prepared.say(f"warning: no longer bit-exact from here; changed since the run began: {', '.join(changes)}")
    directory.metrics.unlink(missing_ok=True)  # of fewer epochs: it is what says that a run is finished
    if settings["recipe"]["epochs"] != prepared.recipe.epochs:  # a later `resume` trains to there, too
        extended = {"recipe": fields_of(prepared.recipe), "overrides": prepared.overrides}
        directory.write_settings(settings | extended)
    return Before(exact=not changes)


def accept_replaced_test_images(prepared: Prepared, settings: dict[str, Any]) -> None:
    """Take other test images of the same names into run.json while there are no results on them.

    Nothing depends on them yet, and one that cannot be read must be replaceable when all the training is done.
    """
    directory, splits = prepared.directory, prepared.splits
    if directory.metrics.exists() or settings["data"]["fingerprint"] == fingerprint(splits):
        return
    files = all(images.path(0) is not None for _, images in splits.items())
    changed = resized(splits, directory.splits)
    if not (files and changed) or resized(dataclasses.replace(splits, test=splits.test.subset([])), directory.splits):
        return
    prepared.say(f"note: test images were replaced before there were results on them: {', '.join(changed[:3])}")
    data = settings["data"]
    data["fingerprint"], data["sample"] = fingerprint(splits), sample_digests(splits)
    data["content"] = data["content"] and content_hash(splits)
    directory.write_settings(settings)
    write_csv(splits, directory.splits)


def outcome_of(prepared: Prepared, history: History) -> Outcome | None:
    """How the run ended, if its epochs are done and the results are of all of them and of the model that is there."""
    directory = prepared.directory
    numbers = directory.read_metrics()
    if numbers is None or not history.is_finished(prepared.recipe.epochs) or not directory.model.is_file():
        return None
    last, header = history.rows[-1], read_header(directory.model)
    of_model = {**what_of(header), "split": of_header(header).get("split")}  # which is val until it was tested
    if {name: numbers.get(name) for name in of_model} != of_model or header.get("epochs") != last.epoch:
        return None
    return Outcome(numbers, last.epoch, last.stopped, finished_before=True)


def finish(run: Run) -> Outcome:
    """Publish the best epoch's weights and evaluate them on the test split, the only time that it is looked at."""
    state = versioned(run.model, {**run.model.state_dict(), **run.best.weights, **run.best.extra})
    run.model.load_state_dict(state)
    header = {**model_header(run), **calibrate(run)}
    if distributed.is_first():  # first without results: a test image that cannot be read does not cost the model
        header["weights_sha256"] = write_model(run.directory.model, state, header)
        write_curves(run.history.rows, run.directory.curves, run.loaded.name)
    predictions = dataclasses.replace(predict_test(run), temperature=header["temperature"])
    found = metrics(predictions, "test", run.recipe.split_seed, Fitted.from_header(header))
    numbers = {**found, "exact": run.exact, **what_of(header)}
    if distributed.is_first():
        tested = {name: value for name, value in numbers.items() if name not in TABLES}
        write_model(run.directory.model, state, {**header, "metrics": json_plain(tested)})
        write_results(predictions, numbers, run.directory.path)
        show_results(run, predictions, numbers)
    last = run.history.rows[-1]
    return Outcome(numbers, last.epoch, last.stopped)


def show_results(run: Run, predictions: Predictions, numbers: dict[str, Any]) -> None:
    """Give TensorBoard the results; where it cannot be written, the run has them all the same."""
    settings = fields_of(run.recipe)
    try:
        write_for_tensorboard(
            run.directory.tensorboard, run.history.rows[-1].epoch, predictions, run.splits.test, numbers, settings
        )
    except (OSError, ModuleNotFoundError) as error:
        run.say(f"warning: no results for TensorBoard: {error}")


def calibrate(run: Run) -> dict[str, Any]:
    """Fit on validation images what makes probabilities mean something: fields of the header."""
    predictions = predict_split(run, "val")
    if len(predictions.targets) < MIN_IMAGES:
        few = f"only {len(predictions.targets)} validation images"
        run.say(f"note: {few}, where {MIN_IMAGES} are needed: the probabilities are not calibrated")
    temperature = fit_temperature(predictions.logits, predictions.targets)
    sure = dataclasses.replace(predictions, temperature=temperature).probabilities
    threshold = abstain_below(sure, predictions.targets)
    return {"temperature": temperature, "abstain_below": threshold, "calibration": fit_thresholds(sure).to_header()}


def predict_split(run: Run, split: str) -> Predictions:
    """What the model says of a split, by an evaluator that no recipe has hooked."""
    evaluator = make_evaluator(run.network, run.preprocessing, run.precision, run.device, run.plan.kind)
    return predict(evaluator, run.rows.eval_loader(split), run.splits[split], run.splits.classes)


def predict_test(run: Run) -> Predictions:
    """The same of the test split. UserError that says how to go on where one of its images cannot be read."""
    try:
        return predict_split(run, "test")
    except UserError as error:
        if error.code != BAD_INPUT:
            raise
        hint = f"The model is trained, in {run.directory.model}; replace this file and run the same command again."
        raise UserError(error.what, error.path, hint) from error


def model_header(run: Run) -> dict[str, Any]:
    """What travels with the weights: all that predict, export and serve need to know."""
    best = next((row for row in run.history.rows if row.epoch == run.best.epoch), run.history.rows[-1])
    return {
        "task": TASK,
        "architecture": models.architecture(run.recipe.model),
        "num_classes": len(run.splits.classes),
        "classes": list(run.splits.classes),
        "preprocessing": run.preprocessing.to_dict(),
        "precision": run.precision,
        "batch_size": eval_batch(run.recipe, run.splits),
        "weights": run.origin,
        "metrics": json_plain(
            {"split": "val", "loss": best.val_loss, "accuracy": best.val_accuracy, "exact": run.exact}
        ),
        "epoch": best.epoch,
        "epochs": run.history.rows[-1].epoch,
    }


def what_of(header: Mapping[str, Any]) -> dict[str, Any]:
    """What results are of: the best epoch, of how many, and a hash of the weights."""
    return {"epoch": header.get("epoch"), "epochs": header.get("epochs"), "weights": header.get("weights_sha256")}


def of_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers that travel with the weights, of the test split once it was looked at; none if there are none."""
    numbers = header.get("metrics")
    return numbers if isinstance(numbers, dict) else {}


def rehearse(prepared: Prepared) -> tuple[Plan, str]:
    """Train and validate on two batches, of everything that the run would use, and write nothing.

    (the plan that the run would have, what came of it as a line)
    """
    refuse_unreadable(prepared)
    say_findings(prepared)
    plan = choose(prepared)
    run = build(prepared, Plan("none", "a dry run"))
    with contextlib.closing(run.loaders):
        for engine, loader in ((run.trainer, run.loaders.train), (run.evaluator, run.loaders.val)):
            engine.run(loader, max_epochs=1, epoch_length=min(REHEARSED_BATCHES, len(loader)))
    output: Any = run.trainer.state.output
    loss = output["loss"].item()
    return plan, f"dry run    trained two batches (loss {loss:.3f}) and validated two; nothing was written"
