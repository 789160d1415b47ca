"""A whole command's work: train and evaluate, evaluate a finished run, rehearse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ignite_vision import models
from ignite_vision.data.containers import Container
from ignite_vision.data.splits import Splits, fingerprint
from ignite_vision.data.splits_csv import apply_csv
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.evaluation.metrics import metrics
from ignite_vision.evaluation.predictions import Predictions, predict
from ignite_vision.evaluation.tables import write_results
from ignite_vision.identity import fields_of
from ignite_vision.inference.classifier import Classifier
from ignite_vision.loading.batches import eval_batch
from ignite_vision.loading.plan import Plan, choose
from ignite_vision.models.model_file import read_header, write_model
from ignite_vision.models.state import versioned
from ignite_vision.prepare import Options, Prepared, Say, load_data, own_splits
from ignite_vision.recipe import Recipe, override
from ignite_vision.recipe_files import load_again
from ignite_vision.report.curves import write_curves
from ignite_vision.run_directory import RunDirectory
from ignite_vision.system import distributed
from ignite_vision.training import fit
from ignite_vision.training.engines import make_evaluator
from ignite_vision.training.history import History
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
    """What earlier commands left: how it ended if it did, and whether it can still become exact."""

    outcome: Outcome | None = None
    exact: bool = True


def train_and_evaluate(prepared: Prepared, announce: Callable[[Plan], None]) -> Outcome:
    """Train to the end and evaluate the best epoch on the test split. announce: called before anything is computed."""
    with prepared.directory.claimed(prepared.say):
        agree_on_data(prepared)
        before = distributed.from_first(lambda: take_up(prepared))
        if before.outcome is not None:
            return before.outcome
        plan = choose(prepared)
        if not prepared.directory.exists():
            write_settings(prepared, plan)
        announce(plan)
        run = build(prepared, plan)
        run.history.exact = before.exact
        fit(run)
        return finish(run)


def agree_on_data(prepared: Prepared) -> None:
    """UserError if a process has other images than the first: another machine's folder differs."""
    if distributed.count() > 1 and len(set(distributed.gather(fingerprint(prepared.splits)))) > 1:
        raise UserError("the processes do not have the same images", prepared.data, "Copy the data to every machine.")


def take_up(prepared: Prepared) -> Before:
    """Check a run that exists against this command, and say what differs. UserError for what cannot be continued."""
    directory = prepared.directory
    if not directory.exists():
        return Before()
    settings = directory.read_settings()
    refuse_changes(prepared, settings)
    history = read_history(prepared)
    outcome = outcome_of(prepared, history)
    sources = changed_sources(prepared, settings)
    if outcome is not None:
        if sources:
            what = f"the recipe's code changed since this run finished: {', '.join(sources)}"
            hint = "Undo that, or choose another --out. `ignite-vision evaluate` still evaluates its model."
            raise UserError(what, directory, hint)
        return Before(outcome)
    changes = changed_environment(settings, prepared.device, prepared.precision) + sources
    if changes:
        prepared.say(f"warning: no longer bit-exact from here; changed since the run began: {', '.join(changes)}")
    directory.metrics.unlink(missing_ok=True)  # of fewer epochs: it is what says that a run is finished
    extended = settings["recipe"]["epochs"] != prepared.recipe.epochs
    if extended:  # a later `resume` goes as far
        settings["recipe"], settings["overrides"] = fields_of(prepared.recipe), prepared.overrides
        if distributed.is_first():
            directory.write_settings(settings)
    if extended and prepared.recipe.schedule is not None and history.rows:
        prepared.say("note: no longer bit-exact from here; the schedule was rebuilt for the new number of epochs")
        return Before(exact=False)
    return Before(exact=not changes)


def read_history(prepared: Prepared) -> History:
    """The rows on disk. UserError (exit 3) if the file is damaged."""
    history = History(prepared.directory.history)
    try:
        history.read()
    except (ValueError, LookupError, TypeError) as error:
        hint = "Restore it from a copy, or choose another --out."
        raise UserError(f"cannot read history.jsonl: {error}", history.path, hint, code=DAMAGED) from error
    return history


def outcome_of(prepared: Prepared, history: History) -> Outcome | None:
    """How the run ended, if its epochs are done and the results are of all of them and of the model that is there."""
    directory = prepared.directory
    numbers = directory.read_metrics()
    if numbers is None or not history.is_finished(prepared.recipe.epochs) or not directory.model.is_file():
        return None
    last = history.rows[-1]
    if numbers.get("epochs") != last.epoch or numbers.get("weights") != read_header(directory.model)["weights_sha256"]:
        return None
    return Outcome(numbers, last.epoch, last.stopped, finished_before=True)


def finish(run: Run) -> Outcome:
    """Publish the best epoch's weights and evaluate them on the test split, the only time that it is looked at."""
    state = versioned(run.model, {**run.model.state_dict(), **run.best.weights, **run.best.extra})
    run.model.load_state_dict(state)
    header = model_header(run)
    if distributed.is_first():  # first without results: a test image that cannot be read does not cost the model
        header["weights_sha256"] = write_model(run.directory.model, state, header)
        write_curves(run.history.rows, run.directory.curves, run.loaded.name)
    predictions = predict_split(run, "test")
    numbers = {**metrics(predictions, "test"), "exact": run.exact, **what_of(header)}
    if distributed.is_first():
        tested = {name: value for name, value in numbers.items() if name != "per_class"}
        write_model(run.directory.model, state, {**header, "metrics": tested})
        write_results(predictions, numbers, run.directory.path)
    last = run.history.rows[-1]
    return Outcome(numbers, last.epoch, last.stopped)


def predict_split(run: Run, split: str) -> Predictions:
    """What the model says of a split, by an evaluator that no recipe has hooked."""
    kind, splits = run.plan.kind, run.splits
    evaluator = make_evaluator(run.network, run.preprocessing, run.precision, run.device, kind)
    return predict(evaluator, run.rows.eval_loader(split), splits[split], splits.classes)


def model_header(run: Run) -> dict[str, Any]:
    """What travels with the weights: all that predict, export and serve need to know."""
    best = next((row for row in run.history.rows if row.epoch == run.best.epoch), run.history.rows[-1])
    return {
        "task": "single-label",
        "architecture": models.architecture(run.recipe.model),
        "num_classes": len(run.splits.classes),
        "classes": list(run.splits.classes),
        "preprocessing": run.preprocessing.to_dict(),
        "precision": run.precision,
        "batch_size": eval_batch(run.recipe, run.splits),
        "metrics": {"split": "val", "loss": best.val_loss, "accuracy": best.val_accuracy, "exact": run.exact},
        "temperature": 1.0,
        "epoch": best.epoch,
        "epochs": run.history.rows[-1].epoch,
    }


def what_of(header: Mapping[str, Any]) -> dict[str, Any]:
    """What results are of: the best epoch, of how many, and a hash of the weights."""
    return {"epoch": header.get("epoch"), "epochs": header.get("epochs"), "weights": header.get("weights_sha256")}


def rehearse(prepared: Prepared) -> tuple[Plan, str]:
    """Train and validate on two batches, of everything that the run would use, and write nothing.

    (the plan that the run would have, what came of it as a line)
    """
    plan = choose(prepared)
    run = build(prepared, Plan("none", "a dry run"))
    for engine, loader in ((run.trainer, run.loaders.train), (run.evaluator, run.loaders.val)):
        engine.run(loader, max_epochs=1, epoch_length=min(REHEARSED_BATCHES, len(loader)))
    run.loaders.close()
    output: Any = run.trainer.state.output
    loss = output["loss"].item()
    return plan, f"dry run    trained two batches (loss {loss:.3f}) and validated two; nothing was written"


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """Results on a split of the run's own images, or on others, and the folder where they are."""

    metrics: dict[str, Any]
    folder: Path


def evaluate_run(directory: RunDirectory, split: str, options: Options, say: Say) -> Evaluated:
    """Evaluate the model of a run on one of its splits; with options.data, perhaps on other images of the same classes.

    What is evaluated is the model file. The results of the run's own test images alone replace those of the run.
    UserError if its own images have changed, or the model is none of this run's.
    """
    settings = directory.read_settings()
    loaded = load_again(settings["spec"], directory.recipe_copy)
    recipe = override(loaded.recipe, settings["overrides"])
    classifier = Classifier.load(directory.path, options.device, own_network(recipe, settings))
    if list(classifier.classes) != settings["classes"]:
        hint = "Restore it from a copy."
        raise UserError("model.safetensors has other classes than the run", directory.model, hint, code=DAMAGED)
    folder = data_of(settings, options)
    given, _ = load_data(recipe, folder)
    for line in given.notes:
        say(f"warning: {line}")
    own = own_splits(given, directory, settings)
    if own is None and options.data is None:
        raise changed_data(given, directory, folder)
    if own is not None:
        images, place = own[split], directory.results(split)
        note: dict[str, Any] = {}
    else:
        images, note = elsewhere(given, split, classifier.classes, say)
        place = directory.results_elsewhere(f"{folder.name}-{images.fingerprint()[:6]}")
        say("note: these are not the run's own images; its own results stay as they are")
    predictions = classifier.predict(images, options.workers, say)
    header = classifier.header
    # evaluated alike by any number of processes
    same = not changed_environment(settings, classifier.device, classifier.precision, but=("processes",))
    exact = bool(header["metrics"].get("exact", False)) and same
    numbers = {**metrics(predictions, split), "exact": exact, **what_of(header), **note}
    if distributed.is_first():
        place.mkdir(parents=True, exist_ok=True)
        write_results(predictions, numbers, place)
    return Evaluated(numbers, place)


def own_network(recipe: Recipe, settings: dict[str, Any]) -> nn.Module | None:
    """The network that a recipe's own function builds; None for one that a model file can name."""
    return models.build(recipe.model, len(settings["classes"])) if callable(recipe.model) else None


def data_of(settings: dict[str, Any], options: Options) -> Path:
    """The folder to read: --data, else where the images were when the run began."""
    folder = options.data or Path(settings["data"]["folder"])
    if options.data is not None and not folder.exists():
        raise UserError("no such data folder", folder, "Check --data.")
    return folder.resolve()


def changed_data(given: Splits, directory: RunDirectory, folder: Path) -> UserError:
    """Return the error for images that are not those that the run began with."""
    apply_csv(given, directory.splits)  # says which are gone or new
    what = "the images or splits.csv changed since this run began"
    return UserError(what, folder, "Restore them, or pass --data to evaluate on other images.")


def elsewhere(given: Splits, split: str, classes: tuple[str, ...], say: Say) -> tuple[Container, dict[str, Any]]:
    """(images of other data, with this model's class indices; what metrics.json says of them).

    The split of that name where the data has it, else all. Classes are aligned by name; images of a class that the
    model does not know are left out, and said.
    """
    whole = given.val is None and given.test is None
    images = given.train if whole else given[split]
    if images is None:
        raise UserError(f"the data has no {split} images", next_step="Choose another --split.")
    known: dict[str, int] = {name: label for label, name in enumerate(classes)}
    labels = torch.tensor([known.get(name, -1) for name in given.classes])[images.targets]
    unknown = sorted({given.classes[t] for t in images.targets[labels < 0].tolist()})
    if not (labels >= 0).any():
        hint = f"The model knows {', '.join(classes[:6])}{', …' if len(classes) > 6 else ''}."
        raise UserError("no class of the data is known to the model", next_step=hint)
    there = set(labels.tolist())
    missing = [name for name, label in known.items() if label not in there]
    left_out = int((labels < 0).sum())
    if unknown:
        say(f"note: {left_out} images of classes unknown to the model are left out: {', '.join(unknown)}")
    if missing:
        say(f"note: classes of the model without images here: {', '.join(missing)}")
    keep = torch.nonzero(labels >= 0)[:, 0]
    note = {"unknown_classes": unknown, "missing_classes": missing, "left_out": left_out}
    return images.subset(keep).relabelled(labels[keep]), note
