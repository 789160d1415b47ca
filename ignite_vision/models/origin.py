"""Where pretrained weights come from and under which licence: said, recorded, and carried on in a model's header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ignite_vision.errors import UserError
from ignite_vision.models.families import find
from ignite_vision.models.header import is_origin
from ignite_vision.models.licences import together
from ignite_vision.models.model_file import read_header
from ignite_vision.models.pretrained import ModelField, parts_of, publisher, weights_file

Origin = dict[str, Any]
"""{"source": who published which weights, or the file's name, "license": its name or address, None if unknown}"""


def origin_of(model: ModelField, weights: str | None) -> Origin | None:
    """Return where a model's pretrained weights come from; None if there are none, as in our own model from scratch.

    A model.safetensors that was trained from others' weights has their origin. UserError for a path to nothing.
    """
    if weights is None:
        return None
    found = [_origin(part, text) for part, text in parts_of(model, weights) if text]
    stated = [origin for origin in found if origin is not None]
    if not stated:
        return None
    return {
        "source": " + ".join(origin["source"] for origin in stated),
        "license": together([origin["license"] for origin in stated]),
    }


def notes_of(model: ModelField, weights: str | None) -> list[str]:
    """Sentences on what is done otherwise here than in the training of these weights."""
    found = []
    for part, text in parts_of(model, weights):
        if text and not callable(part):
            family, name = find(part)
            found += [f"{part}: {note}" for note in family.notes(name, text)]
    return found


def _origin(model: ModelField, weights: str) -> Origin | None:
    path = weights_file(weights)
    if path is None:
        family, name = publisher(model, weights)
        return {"source": family.source(name, weights), "license": family.licence(name, weights)}
    carried = _own_header(path).get("weights", path)
    if carried is None or is_origin(carried):
        return carried
    licence = None
    if not callable(model):
        family, name = find(model)
        licence = family.licence(name, weights)
    return {"source": path.name, "license": licence}


def _own_header(path: Path) -> dict[str, Any]:
    """Return the header of a model file of ours; an empty one of any other file."""
    try:
        return read_header(path) if path.suffix == ".safetensors" else {}
    except UserError:  # not one of ours, or damaged: whoever loads it says so
        return {}
