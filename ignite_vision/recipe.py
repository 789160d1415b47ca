"""A recipe: what to train and how, as one frozen value."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import nn

from ignite_vision.data.preprocessing import FITS, Preprocessing
from ignite_vision.data.splits import Splits
from ignite_vision.errors import UserError, did_you_mean
from ignite_vision.recipe_values import (
    class_names,
    fold_numbers,
    listed,
    merge_table,
    number,
    one_of,
    operations,
    optimizer_class,
    refuse_class,
    refuse_unusable,
    sides,
    sides_in,
    weights_of_classes,
    whole,
)

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
CACHES = ("auto", "features", "resident", "pixels", "none")
SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "loss")
SCHEDULES = ("cosine",)
BALANCED = ("balanced",)
ON_BAD_IMAGE = ("fail", "skip")
HEADS = ("optimizer", "logistic", "auto")
CHOICES = {"precision": PRECISIONS, "cache": CACHES, "score": SCORES, "head": HEADS, "on_bad_image": ON_BAD_IMAGE}
OF_THE_OPTIMIZER = ("optimizer", "lr", "schedule", "accumulate")
OF_BATCHES = ("augment", "loss", "class_weights", "sampler")
NOT_LOGISTIC = ("views", *OF_BATCHES, *OF_THE_OPTIMIZER)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Plain values and a few functions. Making one does nothing: no file is read, no model built.

    A variant is a derivation: `dataclasses.replace(cifar10.recipe, epochs=50)`. UserError for a value that no run
    could use. Anything callable serves as a function: a lambda, a partial, an instance with `__call__`.
    """

    data: Callable[[Path], Splits]
    """From the data set's folder to its splits; a split that it leaves None is cut from train."""
    classes: tuple[str, ...] | None = None
    """Names of the classes to train on, whose order is the data's; None: all."""
    exclude: tuple[str, ...] | None = None
    """Names of classes to leave out."""
    merge: dict[str, tuple[str, ...]] | None = None
    """Name of a new class -> those that it is made of; `classes`, `exclude` and `class_weights` then name the new."""
    val_fraction: float = 0.1
    """Fraction of train that becomes validation where the data set has none."""
    test_fraction: float = 0.125
    """Fraction of train that becomes test where the data set has none."""
    split_seed: int = 0
    """Seed for the split, which `seed` leaves alone: runs with three seeds share one test set."""
    group_by: str | None = None
    """What never lies on two sides of a split: images of one value in this column of a manifest, of one `parent`
    folder, or alike in what a regular expression finds in their path."""

    group_duplicates: bool = True
    """Whether near-duplicates stay on one side where a folder or manifest of one's own is cut."""
    fold: str | None = None
    """"2/5": the test is the second of five folds, which `split_seed` cuts; None: `test_fraction` of the images."""

    on_bad_image: str = "fail"
    """What becomes of an image that cannot be read: the run fails and names it, or ("skip") it is left out before
    anything is cut, named and recorded in splits.csv. For that, every image is decoded once when the run begins."""

    model: str | Callable[[int], nn.Module]
    """A torchvision classifier, `timm:NAME`, one of our small networks, several joined by a plus, or a function
    num_classes -> nn.Module."""
    weights: str | None = None
    """A published name ("DEFAULT"), a path to a state dict, or None for random ones; PATH+PATH of several networks."""
    trainable: str = "all"
    """"all", "head", or the name prefix of the first trainable child ("layer4"); the rest is frozen."""
    head: str = "optimizer"
    """How a linear head on a frozen network is trained: by the optimizer; logistic: by logistic regression on
    standardised features, an epoch for each strength of weight decay, from strong to weak; auto: so where it is
    possible, else by the optimizer."""
    preprocessing: Preprocessing | None = None
    """None: that of the weights, else the data's size, mapped to [-1, 1]."""
    image_size: int | tuple[int, int] | None = None
    """Pixels per side that the model sees, or (height, width); None: what the preprocessing says."""
    fit: str | None = None
    """How an image of another shape is made to fit: crop (the centre), pad (all of it, with bars of grey) or squash
    (all of it, stretched); None: what the preprocessing says, which is crop unless it says otherwise."""

    augment: tuple[Callable[..., Any], ...] = ()
    """Random operations (see ignite_vision.augment), in order, on training batches only."""
    views: int | None = None
    """Augmented views of each image for which features are cached, used in turn; None: new ones in every epoch."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = nn.functional.cross_entropy
    """(logits (N,C) float32, targets (N,) int64, or (N,C) float32 from an augmentation) -> scalar."""
    class_weights: str | dict[str, float] | None = None
    """What an image of a class weighs in the training loss: "balanced", n / (C * count), or class -> weight, 1 for a
    class that is not named. Validation and test losses have no weights."""
    sampler: str | None = None
    """"balanced": an epoch draws as many images of each class, those of small classes several times; None: each image
    once."""
    optimizer: str | Callable[[list[nn.Parameter], float], torch.optim.Optimizer] = "adam"
    """A name in torch.optim (with its defaults), or a function (params, lr) -> Optimizer."""
    lr: float = 1e-3
    """Learning rate, before the schedule."""
    schedule: str | Callable[[torch.optim.Optimizer, int], Any] | None = None
    """"cosine", or a function (optimizer, steps) -> a scheduler of torch or Ignite, stepped every iteration."""
    epochs: int
    """Number of passes over the training images."""
    batch_size: int = 64
    """Images per optimizer step, over all processes."""
    accumulate: int = 1
    """Forward passes per optimizer step; each sees batch_size / accumulate images."""
    sync_bn: bool = False
    """BatchNorm statistics over the images of all processes, on GPUs; otherwise each process has its own."""
    score: str = "accuracy"
    """What makes an epoch the best on validation, and what early stopping follows: accuracy, balanced_accuracy,
    macro_f1 or loss."""
    patience: int | None = None
    """Stop when the score on validation has not improved for this many epochs; None: never."""

    precision: str = "auto"
    """fp32, bf16, fp16 (CUDA), or auto: bf16 where the processor has it."""
    cache: str = "auto"
    """What is computed once: features (of a frozen network), pixels in memory (resident) or on disk (pixels), or
    none; auto takes the first of these that is available."""
    seed: int = 0
    """Seed for weights, order and augmentation (not for the split)."""
    handlers: Callable[[Any], None] | None = None
    """Attach handlers to the Run: def handlers(run): @run.trainer.on(Events.EPOCH_COMPLETED) ..."""

    def __post_init__(self) -> None:
        self._set("image_size", sides("image_size", self.image_size))
        for name in ("epochs", "batch_size", "accumulate", "patience", "views"):
            self._set(name, whole(name, getattr(self, name), least=1, optional=_is_optional(name)))
        for name in ("seed", "split_seed"):
            self._set(name, whole(name, getattr(self, name)))
        for name in ("lr", "val_fraction", "test_fraction"):
            self._set(name, number(name, getattr(self, name)))
        for name in ("classes", "exclude"):
            self._set(name, class_names(name, getattr(self, name)))
        self._set("merge", merge_table(self.merge))
        self._set("augment", operations(self.augment))
        if isinstance(self.weights, PurePath):
            self._set("weights", str(self.weights))
        self._refuse_numbers()
        self._refuse_names()
        self._refuse_functions()
        self._refuse_weights()
        self._refuse_ignored()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _refuse_numbers(self) -> None:
        for name in ("val_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 0 and below 1, not {getattr(self, name)!r}")
        if not self.lr > 0:
            raise UserError(f"lr must be above 0, not {self.lr!r}")
        if self.batch_size % self.accumulate:
            raise UserError(f"accumulate={self.accumulate} does not divide batch_size={self.batch_size}")
        for name in ("sync_bn", "group_duplicates"):
            if not isinstance(getattr(self, name), bool):
                raise UserError(f"{name} must be True or False, not {getattr(self, name)!r}")
        if self.fold is not None:
            fold_numbers(self.fold)

    def _refuse_names(self) -> None:
        for name in ("model", "weights", "trainable", "optimizer", "group_by"):
            if getattr(self, name) == "":
                raise UserError(f"{name} is empty", next_step=f"Name one, or leave {name} out.")
        for name in ("weights", "trainable", "group_by"):
            value = getattr(self, name)
            if not (isinstance(value, str) or (value is None and _is_optional(name))):
                raise UserError(f"{name} must be a name, not {value!r}")
        for name, choices in CHOICES.items():
            one_of(name, getattr(self, name), choices)
        if self.fit is not None:
            one_of("fit", self.fit, FITS)
        if isinstance(self.schedule, str):
            one_of("schedule", self.schedule, SCHEDULES)
        if isinstance(self.optimizer, str):
            optimizer_class(self.optimizer)
        elif isinstance(self.optimizer, type):
            refuse_unusable(self.optimizer)

    def _refuse_functions(self) -> None:
        for name, words in (
            ("data", "a function (folder) -> Splits"),
            ("loss", "a function (logits, targets) -> scalar"),
            ("model", "a name or a function (num_classes) -> nn.Module"),
            ("optimizer", "a name or a function (params, lr) -> Optimizer"),
            ("schedule", "a name or a function (optimizer, steps) -> scheduler"),
            ("handlers", "a function (run)"),
        ):
            value = getattr(self, name)
            named = isinstance(value, str) and words.startswith("a name")
            if not (callable(value) or named or (value is None and _is_optional(name))):
                raise UserError(f"{name} must be {words}, not {type(value).__name__}")
        if isinstance(self.model, nn.Module):  # it is callable, but with images
            raise UserError("model is a network", next_step="Give a function num_classes -> nn.Module that makes it.")
        refuse_class("loss", self.loss)

    def _refuse_weights(self) -> None:
        """UserError for class weights that are none, or that nothing would heed."""
        wanted = self.class_weights
        if isinstance(wanted, str):
            one_of("class_weights", wanted, BALANCED)
        elif wanted is not None:
            self._set("class_weights", weights_of_classes(wanted))
        if self.sampler is not None:
            one_of("sampler", self.sampler, BALANCED)
        if wanted is not None and is_changed(self, "loss"):
            hint = "Leave class_weights out, and give the loss its weights itself."
            raise UserError("class_weights are those of cross entropy, and the recipe has its own loss", next_step=hint)
        if wanted == self.sampler == "balanced":
            raise UserError("class_weights and sampler would balance twice", next_step="Leave one of them out.")

    def _refuse_ignored(self) -> None:
        """UserError for what logistic regression would not heed."""
        if self.head != "logistic":
            return
        if self.trainable != "head":
            what = f"head='logistic' trains nothing but the head, and trainable is '{self.trainable}'"
            raise UserError(what, next_step="Use trainable='head', or head='optimizer'.")
        if self.cache not in ("auto", "features"):
            what = f"head='logistic' needs cached features, and cache is '{self.cache}'"
            raise UserError(what, next_step="Use cache='auto', or head='optimizer'.")
        for name in NOT_LOGISTIC:
            if is_changed(self, name):
                what = f"{name} has no effect on a head that is trained by logistic regression"
                raise UserError(what, next_step=f"Leave {name} out, or use head='optimizer' or head='auto'.")


def is_changed(recipe: Recipe, name: str) -> bool:
    """Whether a field has another value than its default."""
    return bool(getattr(recipe, name) != Recipe.__dataclass_fields__[name].default)


def _is_optional(name: str) -> bool:
    """Whether a field may be None: then it is None by default."""
    return Recipe.__dataclass_fields__[name].default is None


def override(recipe: Recipe, settings: dict[str, str]) -> Recipe:
    """Derive a recipe: field -> text as typed in `--set FIELD=VALUE`, read as the field's type.

    Whoever sets something of the optimizer's wants to train by it where the recipe leaves that open (head="auto").
    UserError for a field that there is not, and for a value that it does not take.
    """
    fields = {field.name: str(field.type) for field in dataclasses.fields(Recipe)}
    changes = {}
    for name, text in settings.items():
        if name not in fields:
            hint = did_you_mean(name, fields) or f"Fields are {', '.join(fields)}."
            raise UserError(f"no field '{name}' in Recipe", next_step=hint)
        changes[name] = _parse(name, fields[name], text)
    if recipe.head == "auto" and "head" not in changes and changes.keys() & set(OF_THE_OPTIMIZER):
        changes["head"] = "optimizer"
    if changes.get("head") == "logistic":  # whoever sets that does without the recipe's optimizer
        for name in OF_THE_OPTIMIZER:
            changes.setdefault(name, Recipe.__dataclass_fields__[name].default)
    return dataclasses.replace(recipe, **changes)


def _parse(name: str, annotation: str, text: str) -> Any:
    """Read `text` as the type of a field, given as its annotation's source."""
    kinds = [kind.strip() for kind in annotation.split("|")]
    if "None" in kinds and text.lower() == "none":
        return None
    if "tuple[int, int]" in kinds:
        return sides_in(name, text)
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
    if "tuple[str, ...]" in kinds:
        return listed(name, text)
    raise UserError(
        f"{name} cannot be set on the command line",
        next_step="Set it in a recipe file.",
    )
