"""What the fields of a recipe may hold: one function for each kind of value, with the error that says the fix."""

from __future__ import annotations

import csv
import math
import operator
import re
from collections.abc import Callable
from typing import Any

import torch

from ignite_vision.errors import UserError, did_you_mean

UNUSABLE = {  # optimizers of torch.optim that a training step here cannot serve, and why
    "LBFGS": "it calls a closure to compute the loss several times in a step, and a step here computes it once",
    "SparseAdam": "it needs sparse gradients, and those of image models are dense",
}


def fold_numbers(fold: Any) -> tuple[int, int]:
    """Numbers k, n of the fold "k/n". UserError for what is no fold."""
    found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", fold) if isinstance(fold, str) else None
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count or count < 2:
        raise UserError(f"fold is {fold!r}", next_step="For example fold=2/5: the second of five.")
    return number, count


def whole(name: str, value: Any, least: int | None = None, optional: bool = False) -> int | None:
    """Any integer (numpy's, too) as an int."""
    if value is None and optional:
        return None
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None or (least is not None and found < least):
        words = "a whole number" if least is None else f"a whole number of at least {least}"
        raise UserError(f"{name} must be {words}, not {value!r}")
    return found


def sides(name: str, value: Any) -> int | tuple[int, int] | None:
    """Pixels per side, or (height, width) where these differ; None: as it is. UserError for anything else."""
    if not isinstance(value, list | tuple):
        return whole(name, value, least=1, optional=True)
    if len(value) != 2:
        raise UserError(f"{name} must be one number or (height, width), not {value!r}")
    height, width = (whole(name, side, least=1) or 0 for side in value)
    return height if height == width else (height, width)


def sides_in(name: str, text: str) -> int | tuple[int, int]:
    """The same from text: `224`, or `192,256`, the height first. UserError for anything else."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        hint = f"For example --set {name}=224, or --set {name}=192,256: height, width."
        raise UserError(f"{name} must be one or two whole numbers, not '{text}'", next_step=hint)
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def number(name: str, value: Any) -> float:
    """Any number (numpy's or a tensor of one, too) as a finite float."""
    try:
        found = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, RuntimeError):
        found = math.nan
    if not math.isfinite(found):
        raise UserError(f"{name} must be a finite number, not {value!r}")
    return found


def class_names(name: str, value: Any) -> tuple[str, ...] | None:
    """Each name once, sorted: recipes that name the same classes are the same. Some data sets number them."""
    if value is None:
        return None
    if not isinstance(value, list | tuple | set | frozenset):
        raise UserError(f"{name} must be a tuple of names, not {value!r}", next_step=f'Write {name}=("cat", "dog").')
    if not value:
        raise UserError(f"{name} is empty", next_step=f"Name some, or leave {name} out.")
    return tuple(sorted({str(item) for item in value}))


def merge_table(value: Any) -> dict[str, tuple[str, ...]] | None:
    """New class -> the classes that it is made of, sorted; None: none. Some data sets number them."""
    if value is None:
        return None
    if not isinstance(value, dict) or not value:
        hint = 'Write merge={"cat": ("tabby", "siamese")}.'
        raise UserError(f"merge must be a dict from new class to classes, not {value!r}", next_step=hint)
    table = {str(new): class_names(f"merge['{new}']", olds) or () for new, olds in value.items()}
    seen: dict[str, str] = {}
    for new, olds in table.items():
        for old in olds:
            if seen.setdefault(old, new) != new:
                raise UserError(f"merge has '{old}' in '{seen[old]}' and in '{new}'", next_step="Keep one of them.")
    for new in table:
        if seen.get(new, new) != new:
            hint = f"Give '{seen[new]}' the classes of '{new}' themselves."
            raise UserError(f"merge makes '{new}', and merges it into '{seen[new]}'", next_step=hint)
    return table


def weights_of_classes(value: Any) -> dict[str, float]:
    """Class -> weight, finite and above 0. Some data sets number their classes."""
    if not isinstance(value, dict) or not value:
        hint = 'Write class_weights="balanced", or {"cat": 2.0}.'
        raise UserError(f"class_weights must be a dict from class to weight, not {value!r}", next_step=hint)
    weights = {str(name): number(f"the weight of '{name}'", weight) for name, weight in value.items()}
    for name, weight in weights.items():
        if weight <= 0:
            hint = f'Use exclude=("{name}",) to leave a class out.'
            raise UserError(f"the weight of '{name}' must be above 0, not {weight:g}", next_step=hint)
    return weights


def operations(value: Any) -> tuple[Callable[..., Any], ...]:
    """Augmentation as a tuple, checked to hold what can be called with images."""
    if not isinstance(value, list | tuple):
        raise UserError("augment must be a tuple of operations", next_step="Write augment=(operation,).")
    for operation in value:
        refuse_class("augment", operation)
        if not callable(operation):
            raise UserError(f"augment holds {operation!r}, which cannot be called")
    return tuple(value)


def refuse_class(name: str, value: Any) -> None:
    """A class can be called, but makes an instance of itself: parentheses are missing."""
    if isinstance(value, type):
        hint = f"Write {value.__name__}(), with parentheses."
        raise UserError(f"{name} has the class {value.__name__} where it needs an instance", next_step=hint)


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """UserError with the nearest for a value that is none of the choices."""
    if value not in choices:
        near = did_you_mean(str(value), choices)
        raise UserError(f"no {name} '{value}'", next_step=f"{near} Choose one of {', '.join(choices)}.".lstrip())


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """Return the class in torch.optim, whatever the case of its name. UserError with the nearest name."""
    classes = {
        key.lower(): value
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and key != "Optimizer"
    }
    if name.lower() not in classes:
        usable = [key for key, value in classes.items() if value.__name__ not in UNUSABLE]
        hint = did_you_mean(name.lower(), usable) or "Names are those of torch.optim: adam, adamw, sgd."
        raise UserError(f"no optimizer '{name}'", next_step=hint)
    refuse_unusable(classes[name.lower()])
    return classes[name.lower()]


def refuse_unusable(optimizer: type) -> None:
    """UserError with the reason for an optimizer class (or a class made from it) that cannot train here."""
    for base in optimizer.__mro__:
        if base.__name__ in UNUSABLE and base.__module__.startswith("torch.optim."):
            what = f"{base.__name__} cannot be used: {UNUSABLE[base.__name__]}"
            raise UserError(what, next_step="Use adam, adamw or sgd.")


def listed(name: str, text: str) -> tuple[str, ...]:
    """Names between commas, as a line of CSV has them: quotes keep the commas of one. UserError for what is no line."""
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error:
        rows = []
    if len(rows) != 1:
        raise UserError(f"{name} is no list of names: {text!r}", next_step=f"For example --{name} cat,dog.")
    return tuple(part.strip() for part in rows[0])
