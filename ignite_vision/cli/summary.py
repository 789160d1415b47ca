"""TODO."""

from __future__ import annotations

from ignite_vision.identity import describe
from ignite_vision.models.head import count_parameters
from ignite_vision.system import distributed
from ignite_vision.training.run import Run


def summary(run: Run) -> list[str]:
    """What this run is, as a person reads it before the first epoch."""
    splits, preprocessing = run.splits, run.preprocessing
    trainable, frozen = count_parameters(run.model)
    sizes = " · ".join(f"{name} {len(getattr(splits, name)):,}" for name in ("train", "val", "test"))
    weights = f"weights {run.recipe.weights}" if run.recipe.weights else "random weights"
    data_name = str(run.data) if run.data.exists() else run.data.name
    mean, std = (" ".join(f"{v:.3g}" for v in values) for values in (preprocessing.mean, preprocessing.std))
    colour = "RGB" if preprocessing.channels == 3 else "grey"
    return [
        f"data       {data_name}: {sizes} images, {len(splits.classes)} classes ({class_list(splits.classes)})",
        f"model      {model_name(run)}, {weights}: {trainable:,} trainable parameters, {frozen:,} frozen",
        f"images     {colour} {preprocessing.crop}x{preprocessing.crop}, short side resized to {preprocessing.resize}"
        f" ({preprocessing.interpolation}), mean {mean}, std {std}",
        f"cache      {run.plan.kind}: {run.plan.reason}",
        f"training   {run.recipe.epochs} epochs of {len(run.loaders.train):,} batches of {run.loaders.batch}"
        f", {run.precision} on {run.device}" + shares(run) + clamped(run),
        f"run        {run.directory}",
    ]


def class_list(classes: tuple[str, ...], most: int = 6) -> str:
    """Return the first few names."""
    if len(classes) <= most:
        return ", ".join(classes)
    return ", ".join((*classes[: most - 2], "…", classes[-1]))


def model_name(run: Run) -> str:
    """The model field as a person would say it."""
    return run.recipe.model if isinstance(run.recipe.model, str) else str(describe(run.recipe.model))


def shares(run: Run) -> str:
    """How many processes share a batch."""
    processes = distributed.count()
    return f", {processes} processes with {run.loaders.batch // processes} images each" if processes > 1 else ""


def clamped(run: Run) -> str:
    """A note when the recipe's batch is larger than the data."""
    wanted = run.recipe.batch_size // run.recipe.accumulate
    return (
        f" (batch size {wanted} is more than the {len(run.splits.train):,} images)"
        if run.loaders.batch < wanted
        else ""
    )
