"""Evaluate the model of a run again: on its own images, or on others of the same classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Set
from pathlib import Path
from typing import Any

from ignite_vision import models
from ignite_vision.data.containers import Container
from ignite_vision.data.splits import Splits
from ignite_vision.data.splits_csv import apply_csv
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.evaluation.calibration import fit_temperature
from ignite_vision.evaluation.coverage import Fitted, fit_thresholds
from ignite_vision.evaluation.metrics import metrics
from ignite_vision.evaluation.other_data import align, warn_of_seen
from ignite_vision.evaluation.predictions import Predictions
from ignite_vision.evaluation.tables import write_results
from ignite_vision.health.duplicates import read_twins
from ignite_vision.inference.classifier import Classifier
from ignite_vision.inference.mirrored import mirrored
from ignite_vision.jobs import of_header, what_of
from ignite_vision.prepare import Options, Say
from ignite_vision.recipe import Recipe, override
from ignite_vision.recipe_files import load_again
from ignite_vision.run_data import existing, load_all, load_data, own_splits, recorded_folder
from ignite_vision.run_directory import RunDirectory
from ignite_vision.system import distributed
from ignite_vision.system.files import expect_writable_folder
from ignite_vision.training.settings import changed_environment


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """Results on a split of the run's own images, or on others, and the folder where they are."""

    metrics: dict[str, Any]
    folder: Path


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is evaluated: images with the model's class indices, where the results go, and what they say of the data."""

    images: Container
    split: str
    folder: Path
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    twins: Set[str] | None = None
    """Ids of images that have a twin in train, where `check` looked for them."""
    val: Container | None = None
    """The run's validation images, where its own images are here."""


def evaluate_run(directory: RunDirectory, split: str, options: Options, say: Say, tta: str | None = None) -> Evaluated:
    """Evaluate the model of a run on one of its splits; with options.data, perhaps on other images of the same classes.

    What is evaluated is the model file. The results on the run's own test images alone replace those of the run.
    tta: "flip" for answers to image and mirror image together, which have a folder of their own. UserError if its own
    images have changed, the model is none of this run's, or the results cannot be written.
    """
    settings = directory.read_settings()
    loaded = load_again(settings["spec"], directory.recipe_copy)
    recipe = override(loaded.recipe, settings["overrides"])
    classifier = classifier_of(directory, recipe, settings, options)
    subject = subject_of(directory, recipe, settings, split, options, say)
    if tta is not None:
        subject = dataclasses.replace(subject, folder=apart(directory, subject.folder, split, tta))
    expect_writable_folder(subject.folder, "Make it writable, or evaluate a copy of the run.")
    if tta is None:
        predictions = classifier.evaluate(subject.images, options.workers, say)
        fitted = Fitted.from_header(classifier.header)
    else:
        predictions, fitted = calibrated_anew(mirrored(classifier), subject, options, say)
    header = classifier.header
    # evaluated alike by any number of processes
    same = not changed_environment(settings, classifier.device, classifier.precision, but=("processes",))
    exact = of_header(header).get("exact") is True and same
    found = metrics(predictions, subject.split, recipe.split_seed, fitted, subject.twins)
    how = {} if tta is None else {"tta": tta}
    numbers = {**found, "exact": exact, **what_of(header), **how, **subject.facts}
    if distributed.is_first():
        write_results(predictions, numbers, subject.folder)
    return Evaluated(numbers, subject.folder)


def apart(directory: RunDirectory, folder: Path, split: str, tta: str) -> Path:
    """Return a folder beside that of plain results: RUN/test-tta-flip, RUN/evaluations/NAME-tta-flip."""
    name = split if folder == directory.path else folder.name
    return (directory.path if folder == directory.path else folder.parent) / f"{name}-tta-{tta}"


def calibrated_anew(
    classifier: Classifier, subject: Subject, options: Options, say: Say
) -> tuple[Predictions, Fitted | None]:
    """Predict; the temperature and the thresholds are fitted to the same kind of answers to validation images.

    Those of the run are of other answers. Without its validation images none are fitted.
    """
    predictions = classifier.evaluate(subject.images, options.workers, say)
    if subject.val is None:
        say("note: the run's validation images are not among these: the probabilities are not calibrated")
        return predictions, None
    on_val = predictions if subject.split == "val" else classifier.evaluate(subject.val, options.workers, say)
    temperature = fit_temperature(on_val.logits, on_val.targets)
    sure = dataclasses.replace(on_val, temperature=temperature).probabilities
    return dataclasses.replace(predictions, temperature=temperature), fit_thresholds(sure)


def classifier_of(directory: RunDirectory, recipe: Recipe, settings: dict[str, Any], options: Options) -> Classifier:
    """Load the run's model; a network of a recipe's own, which no file can name, is built by the recipe."""
    network = models.build(recipe.model, len(settings["classes"])) if callable(recipe.model) else None
    classifier = Classifier.load(directory.path, device=options.device, network=network)
    if classifier.classes != settings["classes"]:
        hint = "Restore it from a copy."
        raise UserError("model.safetensors has other classes than the run", directory.model, hint, code=DAMAGED)
    return classifier


def subject_of(
    directory: RunDirectory, recipe: Recipe, settings: dict[str, Any], split: str, options: Options, say: Say
) -> Subject:
    """Choose the split of the run's own images, wherever they are now; with options.data, images that are not its own.

    UserError if its own images changed and no others are given.
    """
    folder = existing(options.data) if options.data else recorded_folder(recipe, directory, "evaluate")
    # other images need not have all of the classes that the recipe names
    given, _ = load_all(recipe, folder) if options.data else load_data(recipe, folder)
    for line in given.notes:
        say(f"warning: {line}")
    own = own_splits(given, directory, settings)
    if own is not None:
        twins = read_twins(directory.duplicates, split)
        return Subject(own[split], split, directory.results(split), twins=twins, val=own["val"])
    if options.data is None:
        raise changed_data(given, directory, folder)
    classes = tuple(settings["classes"])
    aligned = align(given, split, classes)
    for line in ("these are not the run's own images; its own results stay as they are", *aligned.notes()):
        say(f"note: {line}")
    seen = warn_of_seen(aligned.images, classes, directory.splits, say)
    place = directory.results_elsewhere(f"{folder.name}-{aligned.images.fingerprint()[:6]}")
    return Subject(aligned.images, aligned.split, place, {**aligned.facts(), "seen_in_training": seen})


def changed_data(given: Splits, directory: RunDirectory, folder: Path) -> UserError:
    """Return the error for images that are not those that the run began with."""
    what, place = "the images or splits.csv changed since this run began", folder
    try:
        apply_csv(given, directory.splits)
    except UserError as error:  # which says what is gone or new
        what, place = error.what, directory.splits
    return UserError(what, place, "Restore what changed, or pass --data DIR to evaluate on other images.")
