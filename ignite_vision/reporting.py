"""The report of a run: everything that it is made of is collected here; `report/` draws it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ignite_vision.data.containers import Container
from ignite_vision.data.splits import NAMES, Splits
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.evaluating import changed_data, classifier_of
from ignite_vision.evaluation.frozen import is_too_much, suspects_by
from ignite_vision.evaluation.label_errors import Suspect, listed, suspect_rows, unsharpened
from ignite_vision.evaluation.predictions import Predictions
from ignite_vision.health.duplicates import Row, read_pairs
from ignite_vision.inference.answers import on_canvas
from ignite_vision.inference.classifier import Classifier
from ignite_vision.inference.heat import heat_layer, heat_maps, of_tokens
from ignite_vision.loading.features import Features
from ignite_vision.models.head import split_at_head
from ignite_vision.prepare import Options, Say, prepare
from ignite_vision.randomness import Purpose, key
from ignite_vision.recipe import Recipe, override
from ignite_vision.recipe_files import LoadedRecipe, load_again
from ignite_vision.report.galleries import Heat
from ignite_vision.report.page import Evidence, render
from ignite_vision.report.twins import known_pairs
from ignite_vision.run_data import found_again, own_splits
from ignite_vision.run_directory import RunDirectory, command_of
from ignite_vision.system.files import (
    csv_text,
    expect_writable_folder,
    keeping,
    read_lines,
    write_atomically,
)
from ignite_vision.training.history import read_history

AT_ONCE = 16  # images of a heat map's forward pass
NAMED = 5  # images that are named of those that were skipped
DIGITS = 32  # bits of a seed that scikit-learn takes


@dataclasses.dataclass(frozen=True)
class Subject:
    """A finished run: what it says of itself, its model, and its images where they are now."""

    directory: RunDirectory
    settings: dict[str, Any]
    numbers: dict[str, Any]
    loaded: LoadedRecipe
    recipe: Recipe
    classifier: Classifier
    splits: Splits
    options: Options
    """With the folder of the images as data."""


def write_report(directory: RunDirectory, out: Path | None, options: Options, say: Say) -> Path:
    """Write the report of a finished run, and label_suspects.csv with it; return where the report is.

    out: the file; None: report.html in the run, which then holds label_suspects.csv, too. UserError if the run has no
    results yet, its images changed, or the files cannot be written (exit 4).
    """
    target = directory.report if out is None else out
    expect_writable_folder(target.parent, "Choose another place with --out.")
    if target.is_dir():
        raise UserError("--out is a folder", target, "Name a file, such as report.html.")
    subject = subject_of(directory, options, say)
    evidence = collect(subject, say)
    page = render(evidence)
    with keeping("the report", target, "Free some space, or choose another --out."):
        target.parent.mkdir(parents=True, exist_ok=True)
        if out is None:
            write_atomically(directory.label_suspects, csv_text(suspect_rows(evidence.suspects)))
        write_atomically(target, page)
    return target


def subject_of(directory: RunDirectory, options: Options, say: Say) -> Subject:
    """Load a finished run. UserError if it is none, or its images are not those that it began with."""
    settings, numbers = directory.read_settings(), directory.read_metrics()
    if numbers is None:
        raise UserError("this run has no results yet", directory, f"Finish it: ignite-vision resume {directory}")
    loaded = load_again(settings["spec"], directory.recipe_copy)
    recipe = override(loaded.recipe, settings["overrides"])
    given, folder = found_again(recipe, directory, options.data, "report", say)
    splits = own_splits(given, directory, settings)
    if splits is None:
        error = changed_data(given, directory, folder)
        raise UserError(error.what, error.path, "Restore what changed, or pass --data DIR with the run's own images.")
    classifier = classifier_of(directory, recipe, settings, options)
    there = dataclasses.replace(options, data=folder, out=directory.path)
    return Subject(directory, settings, numbers, loaded, recipe, classifier, splits, there)


def collect(subject: Subject, say: Say) -> Evidence:
    """Predict the test images again, with what goes into the head, and judge labels."""
    settings, classifier = subject.settings, subject.classifier
    rows = read_history(subject.directory.history).rows
    if not rows:
        hint = "Restore it from a copy."
        raise UserError("cannot read history.jsonl: no epoch in it", subject.directory.history, hint, code=DAMAGED)
    predictions, features = seen_by_head(subject, "test", say)
    suspects, judged = doubts(subject, predictions, say)
    layer = heat_layer(classifier)
    return Evidence(
        title=settings["name"],
        subtitle=subtitle(settings),
        numbers=subject.numbers,
        predictions=predictions,
        splits=subject.splits,
        preprocessing=classifier.preprocessing,
        history=rows,
        features=features,
        heat=heat_of(classifier, subject.splits.test, layer),
        of_tokens=layer is not None and of_tokens(classifier, layer),
        suspects=suspects,
        judged=judged,
        check=read_check(subject.directory),
        pairs=pairs_of(subject),
        facts=facts(subject),
        command=command_of(settings, subject.options.data),
        environment=environment(subject),
        recipe=read_recipe(subject),
        seed=key(subject.recipe.split_seed, Purpose.FOLDS) % (1 << DIGITS),
    )


def seen_by_head(subject: Subject, split: str, say: Say) -> tuple[Predictions, torch.Tensor]:
    """Predictions of a split, and what went into the head: (N,D) float32, or the logits if that cannot be seen."""
    classifier, images = subject.classifier, subject.splits[split]
    with caught(classifier.network) as rows:
        predictions = classifier.evaluate(images, subject.options.workers, say)
    features = torch.cat(rows)[: len(images)] if rows else predictions.logits
    return predictions, features if len(features) == len(images) else predictions.logits


@contextlib.contextmanager
def caught(network: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Within, what goes into the network's head is kept, (n,D) float32 for each batch, padding and all."""
    rows: list[torch.Tensor] = []
    try:
        layer = split_at_head(network)[0]
    except UserError:  # no layer that could be a head
        yield rows
        return

    def catch(_layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        whole = inputs[0]
        rows.append((whole.mean((2, 3)) if whole.ndim == 4 else whole.flatten(1)).float().cpu())

    hook = layer.register_forward_pre_hook(catch)
    try:
        yield rows
    finally:
        hook.remove()


def doubts(subject: Subject, predictions: Predictions, say: Say) -> tuple[list[Suspect], str]:
    """Images whose label may be wrong, and a sentence that says which were judged, and by what."""
    features, classes = cached_features(subject), predictions.classes
    if features is not None:
        n = sum(len(images) for _, images in subject.splits.items())
        return suspects_by(features), f"All {n:,} images were judged, each by a model that was fitted to the others."
    both = {"val": subject.classifier.evaluate(subject.splits.val, subject.options.workers, say), "test": predictions}
    names = [(sample, s, i) for s, some in both.items() for i, sample in enumerate(some.ids)]
    targets = torch.cat([some.targets for some in both.values()])
    probabilities = torch.cat([unsharpened(some) for some in both.values()])
    how = f"The {len(targets):,} validation and test images, which the model was not trained on, were judged by it."
    return listed(probabilities, targets, names, classes), how


def cached_features(subject: Subject) -> Features | None:
    """Features of all images where a frozen network's lie in the cache, and are not too many; else None."""
    if subject.recipe.trainable != "head":
        return None
    try:
        prepared = prepare(subject.loaded, subject.settings["overrides"], subject.options, lambda _line: None)
        features = Features(prepared)
        there = all(features.is_computed(split) for split in NAMES)
        return features if there and not is_too_much(prepared) else None
    except UserError:  # the pretrained weights are gone, say: the model itself judges then
        return None


def pairs_of(subject: Subject) -> list[Row] | None:
    """Near-identical images as `check` found them, else by hashes that are known; None where they are not."""
    found = read_pairs(subject.directory.duplicates)
    return known_pairs(subject.splits) if found is None else found


def heat_of(classifier: Classifier, images: Container, layer: str | None) -> Heat | None:
    """What shows where a class was seen in test images, at a layer; None for a network without a map."""
    if layer is None:
        return None

    images = images.at_scale(classifier.canvas.least)

    def heat(places: Sequence[int], classes: Sequence[int]) -> list[torch.Tensor | None]:
        found: list[torch.Tensor | None] = []
        for k in range(0, len(places), AT_ONCE):
            canvases = torch.stack([on_canvas(images[i][0], classifier.canvas) for i in places[k : k + AT_ONCE]])
            found += heat_maps(classifier, canvases, classes[k : k + AT_ONCE], layer)
        return found

    return heat


def subtitle(settings: dict[str, Any]) -> str:
    """What was trained on what."""
    recipe, sizes = settings["recipe"], settings["data"].get("sizes", {})
    model = recipe["model"] if isinstance(recipe["model"], str) else "a network of the recipe's own"
    weights = "random weights" if recipe.get("weights") is None else "pretrained weights"
    part = {"all": f"from {weights}", "head": f"a new head on frozen {weights}"}
    how = part.get(recipe.get("trainable", "all"), f"from {weights}, {recipe.get('trainable')} and what follows")
    train = f", trained on {sizes['train']:,} images" if "train" in sizes else ""
    return f"{model}, {how}{train} of {len(settings['classes'])} classes"


def facts(subject: Subject) -> list[tuple[str, str]]:
    """What the data are."""
    splits = subject.splits
    counts = np.bincount(splits.train.targets.numpy(), minlength=len(splits.classes))
    smallest, largest = int(counts.argmin()), int(counts.argmax())
    return [
        ("Images", ", ".join(f"{len(images):,} {name}" for name, images in splits.items())),
        *skipped(splits),
        ("Classes", f"{len(splits.classes):,}"),
        ("Smallest class", f"{splits.classes[smallest]}, {counts[smallest]:,} training images"),
        ("Largest class", f"{splits.classes[largest]}, {counts[largest]:,} training images"),
        ("Fingerprint", str(subject.settings["data"]["fingerprint"])),
    ]


def skipped(splits: Splits) -> list[tuple[str, str]]:
    """Which images were left out since they could not be read, if any were."""
    if not splits.skipped:
        return []
    named = ", ".join(one.sample for one in splits.skipped[:NAMED])
    more = ", … (splits.csv has all)" if len(splits.skipped) > NAMED else ""
    return [("Skipped", f"{len(splits.skipped):,} that cannot be read: {named}{more}")]


def environment(subject: Subject) -> list[tuple[str, str]]:
    """Where and how fast it was trained, and with what."""
    record = subject.settings["environment"]
    found = [("Run", str(subject.directory.path.resolve())), *speed(subject.directory.timings)]
    found += [("Processor", str(record["processor"]))] if "processor" in record else []
    found.append(("Precision", str(record["precision"])))
    return [*found, ("Versions", ", ".join(f"{name} {version}" for name, version in record["versions"].items()))]


def speed(timings: Path) -> list[tuple[str, str]]:
    """How fast it was trained, by timings.jsonl; nothing where that is missing or not as it was written."""
    try:
        rows = read_lines(timings)
        rates = [float(row["images_per_second"]) for row in rows if "images_per_second" in row]
        seconds = sum(float(row.get("seconds", 0)) for row in rows)
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return []
    text = f"{np.median(rates):,.0f} images per second in training, {seconds:,.0f} s in all" if rates else ""
    return [("Speed", text)] if text else []


def read_recipe(subject: Subject) -> str:
    """Return the recipe's source as it was when the run began, or as it is now where that copy is gone."""
    copy, now = subject.directory.recipe_copy, subject.loaded.source
    return (copy if copy.is_file() else now).read_text(encoding="utf-8", errors="replace")


def read_check(directory: RunDirectory) -> dict[str, Any] | None:
    """Return check.json; None where it is missing or not of this format."""
    try:
        found = json.loads(directory.check.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    plain = isinstance(found, dict) and isinstance(found.get("findings"), list)
    return found if plain and all(map(is_finding, found["findings"])) else None


def is_finding(found: Any) -> bool:
    """Whether this is a finding as `check` writes it, as far as the report shows it."""
    if not isinstance(found, dict) or not isinstance(found.get("images", []), list):
        return False
    return all(isinstance(found.get(name, ""), str) for name in ("kind", "level", "message", "next_step"))
