"""The model families: one file each. A file in this folder, or in one appended to `__path__`, is found by itself."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from ignite_vision.errors import UserError, did_you_mean
from ignite_vision.models.families.family import Family

FIRST = ("ours", "torchvision")  # their names win where families share one; the others follow by name


@functools.cache
def all_families() -> tuple[Family, ...]:
    """Return every family, in an order that does not depend on the machine. `cache_clear()` looks for them again."""
    found = {module.name for module in pkgutil.iter_modules(__path__)} - {"family"}
    ordered = [*FIRST, *sorted(found.difference(FIRST))]
    return tuple(importlib.import_module(f"{__name__}.{name}").FAMILY for name in ordered)


def names() -> list[str]:
    """Every model that can be named and listed: ours, torchvision's classifiers, then those of other families."""
    listed = (f"{f.prefix}:{name}" if f.by_prefix_only else name for f in all_families() for name in f.names())
    return list(dict.fromkeys(listed))


def find(model: str) -> tuple[Family, str]:
    """Return (family, the model's name within it) of `PREFIX:NAME`, or of a NAME of the first family that has it.

    UserError with the nearest name.
    """
    prefix, _, name = model.partition(":")
    for family in all_families():
        if name and family.prefix == prefix and family.has(name):
            return family, name
    for family in all_families():
        if not family.by_prefix_only and family.has(model):
            return family, model
    prefixed = [f"{f.prefix}:{listed}" for f in all_families() if f.prefix == prefix for listed in f.names()]
    hint = (
        did_you_mean(model, prefixed or names()) or "For example resnet18, mobilenet_v2, densenet121, vgg16, vit_b_16."
    )
    raise UserError(f"no model '{model}'", next_step=hint)
