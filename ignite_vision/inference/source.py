"""What is exported: a model in fp32, and the images of its run where these can still be had."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from ignite_vision import models
from ignite_vision.data.containers import Container
from ignite_vision.data.splits import Splits
from ignite_vision.errors import UserError
from ignite_vision.inference.classifier import Classifier, model_file
from ignite_vision.recipe import Recipe, override
from ignite_vision.recipe_files import load_again
from ignite_vision.run_data import existing, load_data, own_splits, recorded_folder
from ignite_vision.run_directory import RunDirectory

ALONE = "a model file alone has no images"


@dataclasses.dataclass(frozen=True)
class Source:
    """file: the model.safetensors. classifier: in fp32 on the CPU. splits: the run's images, or None, and why."""

    file: Path
    classifier: Classifier
    splits: Splits | None
    why_not: str = ""

    def images(self, split: str, most: int) -> Container | None:
        """Return up to so many images of a split, spread evenly; None where there are none."""
        return None if self.splits is None else spread(self.splits[split], most)


def open_source(path: Path, data: Path | None) -> Source:
    """Open a run directory or a model file. data: where the run's images are now.

    A run's recipe is imported, as `evaluate` does. UserError as in `Classifier.load`; for images that are given and not
    the run's.
    """
    file, directory = model_file(path), RunDirectory(path)
    if file.suffix.lower() == ".onnx":
        raise UserError("this is exported already", file, "Pass the run directory or its model.safetensors.")
    if not directory.exists():
        if data is not None:
            raise UserError("--data needs the run directory, not its model file alone", path, "Pass the directory.")
        return Source(file, load(file), None, ALONE)
    settings = directory.read_settings()
    try:
        recipe = override(load_again(settings["spec"], directory.recipe_copy).recipe, settings["overrides"])
    except UserError as error:
        return Source(file, load(file), None, f"its recipe cannot be read: {error.what}")
    network = models.build(recipe.model, len(settings["classes"])) if callable(recipe.model) else None
    classifier = load(file, network)
    try:
        return Source(file, classifier, _splits(recipe, directory, settings, data))
    except UserError as error:
        if data is not None:
            raise
        return Source(file, classifier, None, error.what)


def load(file: Path, network: torch.nn.Module | None = None) -> Classifier:
    """Return the classifier as it is exported: in fp32 on the CPU."""
    return Classifier.load(file, precision="fp32", device="cpu", network=network)


def _splits(recipe: Recipe, directory: RunDirectory, settings: dict[str, Any], data: Path | None) -> Splits:
    folder = existing(data) if data else recorded_folder(recipe, directory, "export")
    found = own_splits(load_data(recipe, folder)[0], directory, settings)
    if found is None:
        raise UserError("the images changed since the run began", folder, "Pass --data DIR with the run's own images.")
    return found


def spread(images: Container, most: int) -> Container:
    """Return up to so many images, spread evenly over all."""
    n = len(images)
    return images.subset([i * n // most for i in range(most)]) if n > most else images
