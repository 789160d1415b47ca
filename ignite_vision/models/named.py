"""A model by name or function: its network, its demands, its weights and what it is called in a model file."""

from __future__ import annotations

import functools

from torch import nn

from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.models.families import all_families, find
from ignite_vision.models.families.family import InputSpec
from ignite_vision.models.pretrained import ModelField, read_weights
from ignite_vision.models.weights import load_backbone


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
        family, name = find(model)
        image_size = image_size or family.demands(name, weights).size
        network = family.build(name, num_classes, image_size)
    if weights is not None and load:
        load_backbone(network, read_weights(model, weights, image_size), weights)
    return network


def input_of(model: ModelField, weights: str | None = None) -> InputSpec:
    """What a model wants to see. A function wants whatever the data is."""
    if callable(model):
        return InputSpec()
    family, name = find(model)
    return family.demands(name, weights)


def weights_preprocessing(model: ModelField, weights: str) -> Preprocessing | None:
    """Return what pretrained weights, named or a file, were trained for; None where nobody knows."""
    if callable(model):
        return None
    family, name = find(model)
    return family.preprocessing(name, weights)


def architecture(model: ModelField) -> str:
    """Say where the network comes from: torchvision:NAME, ignite_vision:NAME, or recipe:MODULE:FUNCTION."""
    if isinstance(model, functools.partial):
        return architecture(model.func)
    if callable(model):
        return f"recipe:{model.__module__}:{getattr(model, '__qualname__', type(model).__qualname__)}"
    family, name = find(model)
    return f"{family.prefix}:{name}"


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
    if family is None or not family.has(name):
        known = ", ".join(f"{family.prefix}:NAME" for family in all_families())
        raise UserError(
            f"unknown architecture '{architecture[:100]}'", next_step=f"This version knows {known}.", code=DAMAGED
        )
    return family.build(name, num_classes, image_size)
