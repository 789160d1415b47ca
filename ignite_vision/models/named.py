"""A model by name or function: its network, its demands, its weights and what it is called in a model file."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.errors import DAMAGED, UserError, did_you_mean
from ignite_vision.models.families import all_families
from ignite_vision.models.families.family import Family, InputSpec
from ignite_vision.models.weights import load_backbone, read_state_dict

ModelField = str | Callable[[int], nn.Module]


def names() -> list[str]:
    """Every model that can be named: ours, torchvision's classifiers, then those of other families."""
    return list(dict.fromkeys(name for family in all_families() for name in family.names()))


def build(
    model: ModelField,
    num_classes: int,
    weights: str | None = None,
    load: bool = True,
    image_size: int | None = None,
) -> nn.Module:
    """Return a network with `num_classes` outputs and a fresh head, drawn from torch's generator.

    weights: a published name, or a path to a state dict. Everything but the head is loaded from it, strictly.
    load: False builds what these weights are for and leaves them unread. image_size: pixels per side, for a network
    that is built for one; None: what it demands. UserError for an unknown name, or weights that do not fit.
    """
    if callable(model):
        network = model(num_classes)
        if not isinstance(network, nn.Module):
            raise UserError(f"the recipe's model function returned {type(network).__name__}, not an nn.Module")
    else:
        family = _family_of(model)
        network = family.build(model, num_classes, image_size or family.demands(model, weights).size)
    if weights is not None and load:
        load_backbone(network, read_weights(model, weights), weights)
    return network


def input_of(model: ModelField, weights: str | None = None) -> InputSpec:
    """What a model wants to see. A function wants whatever the data is."""
    return InputSpec() if callable(model) else _family_of(model).demands(model, weights)


def weights_preprocessing(model: ModelField, weights: str) -> Preprocessing | None:
    """Return what pretrained weights, named or a file, were trained for; None where nobody knows."""
    return None if callable(model) else _family_of(model).preprocessing(model, weights)


def weights_licence(model: ModelField, weights: str) -> str | None:
    """Return the licence of published weights, or where it stands; None where nobody knows."""
    return None if callable(model) else _family_of(model).licence(model, weights)


def read_weights(model: ModelField, weights: str) -> dict[str, torch.Tensor]:
    """Return the state dict of a published name (downloaded, and its hash checked) or of a file."""
    if path := _weights_file(weights):
        return read_state_dict(path)
    return _publisher(model, weights).read_weights(str(model), weights)


def weights_content(model: ModelField, weights: str | None) -> str | None:
    """Return which weights a recipe means, whatever their name or place; None without weights.

    For a file: the sha256 of its bytes, in hex. For a published name: the file that it stands for in this version.
    UserError as in `read_weights`; nothing is downloaded.
    """
    if weights is None:
        return None
    if path := _weights_file(weights):
        return _sha256(path)
    return _publisher(model, weights).weights_identity(str(model), weights)


def architecture(model: ModelField) -> str:
    """Say where the network comes from: torchvision:NAME, ignite_vision:NAME, or recipe:MODULE:FUNCTION."""
    if isinstance(model, functools.partial):
        return architecture(model.func)
    if callable(model):
        return f"recipe:{model.__module__}:{getattr(model, '__qualname__', type(model).__qualname__)}"
    return f"{_family_of(model).prefix}:{model}"


def build_architecture(architecture: str, num_classes: int, image_size: int | None = None) -> nn.Module:
    """Return the network of a model file, with fresh weights: only what a family lists, since the file is a stranger's.

    image_size: pixels per side, for a network that is built for one. UserError for the code of a recipe (exit 2) and
    for anything else that is not known (exit 3).
    """
    prefix, _, name = architecture.partition(":")
    if prefix == "recipe":
        raise UserError(
            f"the network of this model is code in a recipe: {name}", next_step="Use its run directory or its recipe."
        )
    family = next((family for family in all_families() if family.prefix == prefix), None)
    if family is None or name not in family.names():
        known = ", ".join(f"{family.prefix}:NAME" for family in all_families())
        raise UserError(
            f"unknown architecture '{architecture[:100]}'", next_step=f"This version knows {known}.", code=DAMAGED
        )
    return family.build(name, num_classes, image_size)


def _family_of(name: str) -> Family:
    """Return the first family that lists the name. UserError with the nearest name."""
    for family in all_families():
        if name in family.names():
            return family
    hint = did_you_mean(name, names()) or "For example resnet18, mobilenet_v2, densenet121, vgg16, vit_b_16."
    raise UserError(f"no model '{name}'", next_step=hint)


def _publisher(model: ModelField, weights: str) -> Family:
    """Return the family that is to know these weights by name."""
    if callable(model):
        hint = "Use --set weights=none or a path."
        raise UserError(f"this recipe's model has no published weights '{weights}'", next_step=hint)
    return _family_of(model)


def _weights_file(weights: str) -> Path | None:
    """Return the file that `weights` names, or None for a published name. UserError for a path to nothing."""
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if path.suffix or "/" in weights:
        raise UserError("no such weights file", path, "Check --set weights=PATH.")
    return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
