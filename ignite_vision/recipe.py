"""A recipe: what to train and how, as one frozen value."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.data.splits import Splits
from ignite_vision.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from ignite_vision.training.run import Run


PRECISIONS = ("auto", "fp32", "bf16", "fp16")
CACHES = ("auto", "features", "resident", "pixels", "none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Plain values and a few functions. Making one does nothing: no file is read, no model built.

    A variant is a derivation: `dataclasses.replace(cifar10.recipe, epochs=50)`.
    """

    data: Callable[[Path], Splits]
    """From the data set's folder to its splits; what it leaves None is cut from train."""
    val_fraction: float = 0.1
    """Share of train that becomes validation where the data set gives none."""
    test_fraction: float = 0.125
    """Share of train that becomes test where the data set gives none."""
    split_seed: int = 0
    """Cuts the data. `seed` does not: three seeds share one test set."""

    model: str | Callable[[int], nn.Module]
    """A torchvision classifier, one of our small networks, or a function num_classes -> nn.Module."""
    weights: str | None = None
    """A torchvision weights name ("DEFAULT"), a path to a state dict, or None for random ones."""
    trainable: str = "all"
    """"all", "head", or the name prefix of the first trainable child ("layer4"); the rest is frozen."""
    preprocessing: Preprocessing | None = None
    """None: the weights' own, else the data's size, mapped to [-1, 1]."""
    image_size: int | None = None
    """Pixels per side that the model sees; None: what the preprocessing says."""

    augment: tuple[Callable[..., torch.Tensor], ...] = ()
    """Random operations of ignite_vision.augment, in order, on training batches only."""
    views: int | None = None
    """Augmented views of each image for which features are computed, used in turn; None: fresh ones every epoch."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = nn.functional.cross_entropy
    """(logits (N, C) float32, targets (N,) int64) -> scalar."""
    optimizer: str | Callable[[list[nn.Parameter], float], torch.optim.Optimizer] = "adam"
    """A name in torch.optim (its defaults), or a function (params, lr) -> Optimizer."""
    lr: float = 1e-3
    schedule: str | Callable[[torch.optim.Optimizer, int], Any] | None = None
    """"cosine", or a function (optimizer, steps) -> a scheduler of torch or Ignite, stepped every iteration."""
    epochs: int
    batch_size: int = 64
    """Images per optimizer step, over all processes."""
    accumulate: int = 1
    """Forward passes per optimizer step; each sees batch_size / accumulate images."""
    sync_bn: bool = False
    """BatchNorm over the images of all processes, on GPUs; otherwise each process has statistics of its own."""
    patience: int | None = None
    """Stop when validation has not improved for so many epochs; None: never."""

    precision: str = "auto"
    """fp32, bf16, fp16 (CUDA), or auto: bf16 where the processor has it."""
    cache: str = "auto"
    """What is computed once: features (of a frozen network), pixels in memory (resident) or on disk (pixels), or
    none; auto takes the first of these that can be had."""
    seed: int = 0
    """Initialises the model, orders and augments the images."""
    handlers: Callable[[Run], None] | None = None
    """Attach your own: def handlers(run): @run.trainer.on(Events.EPOCH_COMPLETED) ..."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "patience", "image_size", "views"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UserError(f"{name} must be a whole number of at least 1, not {value!r}")
        for name in ("val_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 0 and below 1, not {getattr(self, name)!r}")
        if not self.lr > 0:
            raise UserError(f"lr must be above 0, not {self.lr!r}")
        if self.batch_size % self.accumulate:
            raise UserError(f"accumulate={self.accumulate} does not divide batch_size={self.batch_size}")
        for name, choices in (("precision", PRECISIONS), ("cache", CACHES)):
            _one_of(name, getattr(self, name), choices)
        if isinstance(self.schedule, str):
            _one_of("schedule", self.schedule, ("cosine",))
        if isinstance(self.optimizer, str):
            optimizer_class(self.optimizer)


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"no {name} '{value}'", next_step=f"Choose one of {', '.join(choices)}.")


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """Return the class in torch.optim, whatever the case of its name. UserError with the nearest name."""
    classes = {
        key.lower(): value
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
        # LBFGS wants a closure, SparseAdam sparse gradients
        if key not in ("Optimizer", "LBFGS", "SparseAdam")
    }
    if name.lower() not in classes:
        hint = did_you_mean(name.lower(), classes) or "Names are those of torch.optim: adam, adamw, sgd."
        raise UserError(f"no optimizer '{name}'", next_step=hint)
    return classes[name.lower()]


def override(recipe: Recipe, settings: dict[str, str]) -> Recipe:
    """Derive a recipe: field -> text as typed in `--set FIELD=VALUE`, read as the field's type."""
    fields = {field.name: str(field.type) for field in dataclasses.fields(Recipe)}
    changes = {}
    for name, text in settings.items():
        if name not in fields:
            hint = did_you_mean(name, fields) or f"Fields are {', '.join(fields)}."
            raise UserError(f"no field '{name}' in Recipe", next_step=hint)
        changes[name] = _parse(name, fields[name], text)
    return dataclasses.replace(recipe, **changes)


def _parse(name: str, annotation: str, text: str) -> Any:
    """Read `text` as the type of a field, given as its annotation's source."""
    kinds = [kind.strip() for kind in annotation.split("|")]
    if "None" in kinds and text.lower() == "none":
        return None
    for kind, read, words, example in (("int", int, "a whole number", "3"), ("float", float, "a number", "0.01")):
        if kind in kinds:
            try:
                return read(text)
            except ValueError:
                hint = f"For example --set {name}={example}."
                raise UserError(f"{name} must be {words}, not '{text}'", next_step=hint) from None
    if "bool" in kinds:
        if text.lower() not in ("true", "false"):
            raise UserError(f"{name} must be true or false, not '{text}'")
        return text.lower() == "true"
    if "str" in kinds:
        return text
    raise UserError(
        f"{name} cannot be set on the command line",
        next_step="Write a recipe file of your own and set it there.",
    )


def describe(value: Any) -> Any:
    """Return a JSON value that says what a field holds: functions as module:qualname(arguments), objects by repr."""
    if isinstance(value, functools.partial):
        arguments = [repr(a) for a in value.args] + [f"{k}={v!r}" for k, v in sorted(value.keywords.items())]
        return f"{describe(value.func)}({', '.join(arguments)})"
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, (tuple, list)):
        return [describe(item) for item in value]
    if dataclasses.is_dataclass(value) or isinstance(value, nn.Module):
        return repr(value)
    return f"{value.__module__}:{value.__qualname__}"


def fields_of(recipe: Recipe) -> dict[str, Any]:
    """Every field as a JSON value, in order."""
    return {field.name: describe(getattr(recipe, field.name)) for field in dataclasses.fields(recipe)}


def digest(recipe: Recipe, data_name: str) -> str:
    """Six hex digits over everything that decides the result: not epochs, which may grow, nor any path."""
    fields = {name: value for name, value in fields_of(recipe).items() if name != "epochs"}
    if isinstance(fields["weights"], str):
        fields["weights"] = Path(fields["weights"]).name
    text = json.dumps([fields, data_name], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:6]
