"""Pretrained weights of a model by a published name or a file, whichever family it is of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import torch
from torch import nn

from ignite_vision.errors import UserError
from ignite_vision.models.families import find
from ignite_vision.models.families.family import Family
from ignite_vision.models.weights import read_state_dict
from ignite_vision.system.files import sha256

ModelField = str | Callable[[int], nn.Module]


def read_weights(model: ModelField, weights: str, image_size: int | None = None) -> dict[str, torch.Tensor]:
    """Return the state dict of a published name (downloaded, and its hash checked) or of a file.

    image_size: pixels per side of the network that it is for, where it is built for one size.
    """
    if callable(model):
        return read_state_dict(weights_file(weights) or _unpublished(weights))
    family, name = find(model)
    path = None if family.parts else weights_file(weights)
    return family.fit(name, read_state_dict(path) if path else family.read_weights(name, weights), image_size)


def weights_content(model: ModelField, weights: str | None) -> str | None:
    """Return which weights a recipe means, whatever their name or place; None without weights.

    For a file: the sha256 of its bytes, in hex. For a published name: the file that it stands for in this version.
    Those of several networks are joined by a plus. UserError as in `read_weights`; nothing is downloaded.
    """
    if weights is None:
        return None
    return "+".join(_content(part, text) for part, text in parts_of(model, weights) if text)


def parts_of(model: ModelField, weights: str | None) -> list[tuple[ModelField, str | None]]:
    """Return the models that a model is made of, each with its weights; of nearly all, itself alone."""
    if callable(model):
        return [(model, weights)]
    family, name = find(model)
    return [*family.parts(name, weights)] if family.parts else [(model, weights)]


def is_composed(model: ModelField) -> bool:
    """Whether a model is several networks side by side."""
    return not callable(model) and find(model)[0].parts is not None


def weights_file(weights: str) -> Path | None:
    """Return the file that `weights` names, or None for a published name. UserError for a path to nothing."""
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if path.suffix or "/" in weights:
        raise UserError("no such weights file", path, "Check --set weights=PATH.")
    return None


def with_absolute_paths(model: ModelField, weights: str) -> str:
    """Return the weights with the absolute path of each file: `resume` may be called in another folder."""
    texts = [text for _, text in parts_of(model, weights) if text]
    places = [Path(text).expanduser() for text in texts]
    if not any(place.is_file() for place in places):
        return weights
    return "+".join(
        str(place.absolute()) if place.is_file() else text for text, place in zip(texts, places, strict=True)
    )


def publisher(model: ModelField, weights: str) -> tuple[Family, str]:
    """Return the family that is to know these weights by name, and the model's name within it."""
    return _unpublished(weights) if callable(model) else find(model)


def _content(model: ModelField, weights: str) -> str:
    if path := weights_file(weights):
        return sha256(path)
    family, name = publisher(model, weights)
    return family.weights_identity(name, weights)


def _unpublished(weights: str) -> NoReturn:
    """Refuse a name of weights for a recipe's own function."""
    hint = "Use --set weights=none or a path."
    raise UserError(f"this recipe's model has no published weights '{weights}'", next_step=hint)
