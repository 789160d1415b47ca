"""Evaluate a published network as it is, without any training, on folders of ImageNet's classes."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ignite_vision import models
from ignite_vision.errors import UserError
from ignite_vision.evaluation.intervals import wilson
from ignite_vision.evaluation.metrics import metrics
from ignite_vision.evaluation.other_data import Aligned, align
from ignite_vision.evaluation.predictions import Predictions
from ignite_vision.evaluation.tables import write_results
from ignite_vision.inference.classifier import Classifier
from ignite_vision.inference.mirrored import mirrored
from ignite_vision.models import imagenet
from ignite_vision.models.families import all_families
from ignite_vision.models.header import TASK
from ignite_vision.prepare import Options, Say, pick_device, with_size
from ignite_vision.recipe_files import load
from ignite_vision.run_data import existing, load_all
from ignite_vision.run_directory import RunDirectory
from ignite_vision.system import distributed
from ignite_vision.system.files import expect_writable_folder, runs_home

SHOWN = 5  # folders in a line


@dataclasses.dataclass(frozen=True)
class Published:
    """A network by name, `torchvision:resnet50`, and its weights: DEFAULT, another published name, or a path."""

    model: str
    weights: str = "DEFAULT"

    @classmethod
    def parse(cls, text: str) -> Published | None:
        """Read FAMILY:NAME or FAMILY:NAME=WEIGHTS; None for what begins with no family: it is a path."""
        if text.partition(":")[0] not in {family.prefix for family in all_families()} or ":" not in text:
            return None
        model, equals, weights = text.partition("=")
        if equals and not weights.strip():
            raise UserError(f"'{text}' names no weights", next_step=f"Write {model}=PATH, or {model} alone.")
        return cls(model.strip(), weights.strip() or "DEFAULT")

    def classifier(self, device: str, say: Say) -> Classifier:
        """Return it as it answers: in fp32, its probabilities not calibrated."""
        with self.in_its_own_words():
            size = models.input_of(self.model, self.weights).size
            seen = imagenet.preprocessing(self.model, self.weights)
            network = imagenet.network(self.model, self.weights)
        header = {
            "task": TASK,
            "architecture": models.architecture(self.model),
            "num_classes": len(imagenet.classes()),
            "classes": list(imagenet.classes()),
            "preprocessing": (with_size(seen, (size, size)) if size else seen).to_dict(),
            "precision": "fp32",
            "temperature": 1.0,
        }
        return Classifier(network, header, "fp32", pick_device(device, say))

    @contextlib.contextmanager
    def in_its_own_words(self) -> Iterator[None]:
        """Within, a UserError that advises `--set weights` says how weights are named here."""
        try:
            yield
        except UserError as error:
            before, advice, _ = error.next_step.partition(", or use --set weights")
            here = f"a file of weights is named so: {self.model}=PATH"
            if not advice and "--set weights" not in before:
                raise
            hint = f"{before}; {here}." if advice else f"{here[0].upper()}{here[1:]}."
            raise UserError(error.what, error.path, hint, error.code) from error


@dataclasses.dataclass(frozen=True)
class Found:
    """Results, where they are, and what the folders' names were taken for."""

    metrics: dict[str, Any]
    folder: Path
    matched: dict[str, str]


def evaluate_published(published: Published, split: str, options: Options, say: Say, tta: str | None = None) -> Found:
    """Evaluate a network on images in folders that are named by synset or class; the others are left out.

    Among all of its classes, and among those that have images here. options.out: the folder of the results; None: one
    in the folder of runs. UserError if no folder is matched, or for a folder of results that is a run.
    """
    if options.data is None:
        hint = "Add --data DIR: folders that are named by synset (n01440764) or class (tench)."
        raise UserError(f"{published.model} has no images of its own", next_step=hint)
    with published.in_its_own_words():
        content = models.weights_content(published.model, published.weights)
    data = existing(options.data)
    given, _ = load_all(load("folder").recipe, data)
    for line in given.notes:
        say(f"warning: {line}")
    aligned = align(given, split, imagenet.classes(), imagenet.label_of)
    folder = options.out or place_of(published, data, content, aligned, tta)
    refuse(folder)
    classifier = published.classifier(options.device, say)
    classifier = classifier if tta is None else mirrored(classifier)
    predictions = classifier.evaluate(aligned.images, options.workers, say)
    numbers = {
        **metrics(predictions, aligned.split),
        "among_present": among_present(predictions),
        **({} if tta is None else {"tta": tta}),
        "model": published.model,
        "weights": content,
        "unknown_classes": list(aligned.unknown_classes),
        "left_out": aligned.left_out,
    }
    if distributed.is_first():
        write_results(predictions, numbers, folder)
    labels = {name: imagenet.label_of(name) for name in given.classes}
    return Found(
        numbers, folder, {name: imagenet.classes()[label] for name, label in labels.items() if label is not None}
    )


def place_of(published: Published, data: Path, content: str | None, aligned: Aligned, tta: str | None) -> Path:
    """Return a folder of its own for these weights and images. content: of the weights."""
    text = json.dumps([published.model, content, aligned.images.fingerprint(), tta])
    name = f"{published.model.replace(':', '-').replace('/', '-')}-on-{data.name}"
    return runs_home() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def refuse(folder: Path) -> None:
    """UserError if results of a network cannot go to a folder: it is a run's, or cannot be written."""
    if RunDirectory(folder).exists():
        raise UserError("--out is a run, which has results of its own", folder, "Choose another folder.")
    if folder.exists() and not folder.is_dir():
        raise UserError("--out is a file", folder, "Choose a folder.")
    expect_writable_folder(folder, "Choose another folder with --out.")


def among_present(predictions: Predictions) -> dict[str, Any]:
    """Accuracy if only the classes that have images here could be said."""
    present = predictions.targets.unique()
    labels = present[predictions.logits[:, present].argmax(1)]
    right, n = int((labels == predictions.targets).sum()), len(predictions.targets)
    return {"classes": len(present), "accuracy": right / n, "interval": list(wilson(right, n))}


def lines(found: Found) -> Iterator[str]:
    """Yield what was matched and left out, and the accuracy among all classes and those that are here."""
    numbers, here = found.metrics, found.metrics["among_present"]
    pairs = [f"{name} = {label}" for name, label in found.matched.items() if name != label]
    shown = ", ".join(pairs[:SHOWN]) + (", …" if len(pairs) > SHOWN else "")
    unknown = numbers["unknown_classes"]
    yield f"matched {len(found.matched):,} of {len(found.matched) + len(unknown):,} folders" + f": {shown}" * bool(
        pairs
    )
    if unknown:
        more = ", …" if len(unknown) > SHOWN else ""
        names = ", ".join(unknown[:SHOWN]) + more
        yield f"left out {numbers['left_out']:,} images of folders that are no class of ImageNet's: {names}"
    low, high = numbers["intervals"]["accuracy"]
    yield (
        f"accuracy {numbers['accuracy']:.4f} on {numbers['n']:,} images among all {len(imagenet.classes()):,} classes"
        f" (95 % interval {low:.3f} to {high:.3f}) · top 5 {numbers['top5_accuracy']:.4f}"
    )
    low, high = here["interval"]
    yield f"accuracy {here['accuracy']:.4f} among the {here['classes']:,} classes here ({low:.3f} to {high:.3f})"
