"""The model families: one file each. A file in this folder, or in one appended to `__path__`, is found by itself."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from ignite_vision.models.families.family import Family

FIRST = ("ours", "torchvision")  # their names win where families share one; the others follow by name


@functools.cache
def all_families() -> tuple[Family, ...]:
    """Return every family, in an order that does not depend on the machine. `cache_clear()` looks for them again."""
    found = {module.name for module in pkgutil.iter_modules(__path__)} - {"family"}
    ordered = [*FIRST, *sorted(found.difference(FIRST))]
    return tuple(importlib.import_module(f"{__name__}.{name}").FAMILY for name in ordered)
