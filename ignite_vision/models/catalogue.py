"""Every model that can be named, with what a reader chooses by."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools

from ignite_vision.errors import UserError
from ignite_vision.models.families import find, names
from ignite_vision.models.meta import without_memory
from ignite_vision.models.named import build, input_of, weights_preprocessing

MOST_BUILT = 20  # networks whose parameters are counted by building them, without memory: a second or so each
CLASSES = 1000  # of that head


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model: its name, parameters (None: not counted), pixels per side (None: any), licence of its default weights.

    The licence is None where it is unknown, and empty where no weights are published.
    """

    name: str
    parameters: int | None
    pixels: int | None
    licence: str | None


def catalogue(pattern: str = "*") -> list[Entry]:
    """Return the models whose name is, or has in it, this pattern of a shell. UserError if there are none.

    What its family refuses, for images that are not square, is left out.
    """
    found = [name for name in names() if fnmatch.fnmatchcase(name, pattern)]
    found = found or [name for name in names() if fnmatch.fnmatchcase(name, f"*{pattern}*")]
    if not found:
        raise UserError(f"no model like '{pattern}'", next_step="A pattern is as in a shell: 'vit_*', 'timm:*dinov2*'.")
    entries = (_entry(name, len(found) <= MOST_BUILT) for name in found)
    return [entry for entry in entries if entry is not None]


def _entry(model: str, may_build: bool) -> Entry | None:
    family, name = find(model)
    published = family.published(name)
    try:
        pixels = _pixels(model, published)
    except UserError:
        return None
    parameters = family.parameters(name)
    if parameters is None and may_build:
        parameters = _counted(model)
    return Entry(model, parameters, pixels, family.licence(name, "DEFAULT") if published else "")


def _pixels(model: str, published: bool) -> int | None:
    """Pixels per side at which the model is used, with its default weights if there are any."""
    weights = "DEFAULT" if published else None
    size = input_of(model, weights).size
    if size is not None or weights is None:
        return size
    known = weights_preprocessing(model, weights)
    return known.crop if known else None


def _counted(model: str) -> int:
    network = without_memory(functools.partial(build, model, CLASSES))
    return sum(parameter.numel() for parameter in network.parameters())
