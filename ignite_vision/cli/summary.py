"""The lines that a command prints before the first epoch and after the last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.errors import printable
from ignite_vision.evaluation.metrics import FORMAT, weakest
from ignite_vision.health.findings import counted
from ignite_vision.identity import describe
from ignite_vision.loading.batches import batches_per_epoch, train_batch
from ignite_vision.loading.plan import Plan
from ignite_vision.models import notes_of
from ignite_vision.models.head import count_parameters
from ignite_vision.models.licences import concern
from ignite_vision.prepare import Prepared
from ignite_vision.run_directory import RunDirectory
from ignite_vision.system import distributed
from ignite_vision.training.logistic import FOLDS
from ignite_vision.training.strengths import is_judged_by_folds


def summary(prepared: Prepared, plan: Plan) -> list[str]:
    """Lines that say what is about to be trained: data, model, images, cache, training, run directory."""
    recipe, splits, preprocessing = prepared.recipe, prepared.splits, prepared.preprocessing
    trainable, frozen = count_parameters(prepared.model)
    sizes = " · ".join(f"{name} {len(images):,}" for name, images in splits.items())
    classes = splits.classes
    skipped = f", {len(splits.skipped):,} skipped" if splits.skipped else ""
    weights = f"weights {recipe.weights}" if recipe.weights else "random weights"
    data_name = str(prepared.data) if prepared.data.exists() else prepared.data.name
    mean, std = (" ".join(f"{v:.3g}" for v in values) for values in (preprocessing.mean, preprocessing.std))
    colour = "RGB" if preprocessing.channels == 3 else "grey"
    epochs = at_most(prepared) + counted(recipe.epochs, "epoch")
    return [
        f"data       {data_name}: {sizes} images{skipped}, {len(classes)} classes ({class_list(classes)})",
        f"model      {model_name(prepared)}, {weights}: {trainable:,} trainable parameters, {frozen:,} frozen",
        *where_from(prepared),
        f"images     {colour} {how_cut(preprocessing)} ({preprocessing.interpolation}), mean {mean}, std {std}",
        f"cache      {plan.kind}: {plan.reason}",
        *head(prepared, plan),
        *balance(prepared),
        f"training   {epochs} of {batches(prepared, plan)}",
        f"run        {prepared.directory}",
    ]


def how_cut(preprocessing: Preprocessing) -> str:
    """`224x224, short side resized to 256`, or how else an image becomes what the model sees."""
    height, width = preprocessing.size
    size = f"{height}x{width}" + ("" if height == width else " (height x width)")
    high, wide = preprocessing.box
    cut = f"short side resized to {high}" if high == wide else f"resized to cover {high}x{wide}"
    how = {"crop": cut, "pad": "whole images, padded", "squash": "whole images, squashed"}[preprocessing.fit]
    return f"{size}, {how}"


def batches(prepared: Prepared, plan: Plan) -> str:
    """`13 batches of 64, bf16 on cpu`, and who shares them. Logistic regression has all images in one."""
    recipe, n, where = prepared.recipe, len(prepared.splits.train), f"{prepared.precision} on {prepared.device}"
    if plan.head == "logistic":
        return f"1 batch of {n:,}, {where}"
    number = counted(batches_per_epoch(recipe, n), "batch")
    return f"{number} of {train_batch(recipe, n)}, {where}" + shares(prepared) + clamped(prepared)


def head(prepared: Prepared, plan: Plan) -> Iterator[str]:
    """Yield how the head is trained, where the recipe leaves it to logistic regression."""
    if plan.not_logistic:
        yield f"head       trained by the optimizer, not by logistic regression: {plan.not_logistic}"
    if plan.head == "logistic":
        score, n = prepared.recipe.score, len(prepared.splits.val)
        by = f"by {score} on val"
        if is_judged_by_folds(prepared):
            by = f"by {score} in {FOLDS}-fold cross-validation over train and val, since {n} val images are few"
        yield f"head       logistic regression; each epoch is a weaker strength of weight decay; the best {by}"


def balance(prepared: Prepared) -> Iterator[str]:
    """Yield how classes of unequal sizes are evened out, where the recipe does so."""
    weights, train = prepared.class_weights, prepared.splits.train
    counts = train.targets.bincount(minlength=len(prepared.splits.classes))
    if weights is not None:
        yield "balance    an image's weight in the training loss: " + extremes(prepared, weights, counts)
    if train.weights is not None:
        least, most = float(train.weights.min()), float(train.weights.max())
        yield f"balance    an image's own weight in the training loss: {least:.3g} to {most:.3g}"
    if prepared.recipe.sampler is not None:
        times = len(train) / (int((counts > 0).sum()) * counts.clamp(min=1))
        yield "balance    an epoch draws classes equally often, each image on average: " + extremes(
            prepared, times, counts
        )


def extremes(prepared: Prepared, values: torch.Tensor, counts: torch.Tensor) -> str:
    """`cat 0.5 to dog 4`: the least and the largest value of a class that has images. values, counts: (C,)."""
    there = torch.nonzero(counts)[:, 0]
    least, most = int(there[values[there].argmin()]), int(there[values[there].argmax()])
    if values[least] == values[most]:
        return f"{float(values[least]):.3g} in all classes"
    names = prepared.splits.classes
    return printable(f"{names[least]} {float(values[least]):.3g} to {names[most]} {float(values[most]):.3g}")


def at_most(prepared: Prepared) -> str:
    """Say that the number of epochs is not planned yet."""
    return "at most " if prepared.options.budget is not None else ""


def where_from(prepared: Prepared) -> Iterator[str]:
    """Yield the origin and licence of pretrained weights, what to mind about them, and how they are used otherwise."""
    if prepared.origin is None:
        return
    source, licence = prepared.origin["source"], prepared.origin["license"]
    yield printable(f"weights    {source}, licence {licence or 'unknown'}")
    if sentence := concern(licence):
        yield printable(f"warning: {sentence}")
    for note in notes_of(prepared.recipe.model, prepared.recipe.weights):
        yield f"note: {note}"


def class_list(classes: tuple[str, ...], most: int = 6) -> str:
    """Return the first few names."""
    if len(classes) <= most:
        return ", ".join(classes)
    return ", ".join((*classes[: most - 2], "…", classes[-1]))


def model_name(prepared: Prepared) -> str:
    """Return the model's name, or the description of its function."""
    model = prepared.recipe.model
    return model if isinstance(model, str) else str(describe(model))


def shares(prepared: Prepared) -> str:
    """Say how many processes share a batch."""
    processes, batch = distributed.count(), train_batch(prepared.recipe, len(prepared.splits.train))
    return f", {processes} processes with {batch // processes} images each" if processes > 1 else ""


def clamped(prepared: Prepared) -> str:
    """Say when the recipe's batch is larger than the data."""
    n, wanted = len(prepared.splits.train), prepared.recipe.batch_size // prepared.recipe.accumulate
    return f" (batch size {wanted} is more than the {n:,} images)" if n < wanted else ""


def certainty(numbers: dict[str, Any]) -> Iterator[str]:
    """Yield how far the accuracy can be trusted, and what needs no model; nothing of results of older versions."""
    if numbers.get("format", 1) < FORMAT:
        return
    low, high = numbers["intervals"]["accuracy"]
    base = numbers["baseline"]
    yield printable(
        f"95 % interval {low:.3f} to {high:.3f} · always saying {base['class']}: {base['accuracy']:.3f}"
        f" · guessing: {base['chance']:.3f}"
    )


def results(numbers: dict[str, Any], directory: RunDirectory, folder: Path) -> Iterator[str]:
    """Yield the last lines of a command: accuracy, how certain it is, weakest classes, files, what to do next.

    folder: where these results are.
    """
    of = "" if numbers["split"] == "all" else f"{numbers['split']} "
    calibrated = numbers.get("calibrated_loss")  # older runs have none; of NaN it is None
    yield (
        f"{of}accuracy {numbers['accuracy']:.4f} on {numbers['n']:,} images"
        f" · balanced {numbers['balanced_accuracy']:.4f} · loss {numbers['loss']:.4f}"
        + (f", calibrated {calibrated:.4f}" if isinstance(calibrated, float) else "")
    )
    if numbers.get("tta") is not None:
        yield "each image and its mirror image: the mean of both probabilities"
    yield from certainty(numbers)
    weak = ", ".join(f"{name} {accuracy:.2f}" for name, accuracy in weakest(numbers))
    if weak:
        yield f"weakest classes: {weak}"
    if folder == directory.path:
        yield f"run directory: {directory}"
        yield f"next: ignite-vision report {directory}, or ignite-vision predict {directory} PHOTOS/"
    else:
        yield f"results: {folder}"
        yield next_of(numbers, directory, folder)


def next_of(numbers: dict[str, Any], directory: RunDirectory, folder: Path) -> str:
    """What to do with results that are not the run's own: to compare those with mirror images with those without."""
    if numbers.get("tta") is not None:
        name = folder.name.removesuffix(f"-tta-{numbers['tta']}")
        plain = directory.results(name) if folder.parent == directory.path else folder.with_name(name)
        if RunDirectory(plain).metrics.is_file():
            return f"next: ignite-vision compare {plain} {folder}"
    return f"next: look at {folder / 'predictions.csv'} for each image, at {folder / 'confusion.csv'} for each class"
