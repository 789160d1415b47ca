"""A model by name or function, with a head for our classes; and freezing that really freezes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models as zoo

from ignite_vision.data.preprocessing import Preprocessing, from_weights
from ignite_vision.errors import UserError, did_you_mean
from ignite_vision.models.small import SMALL
from ignite_vision.models.weights import _download, load_backbone, read_state_dict

ModelField = str | Callable[[int], nn.Module]

# Pixels per side below which a network has nothing left to pool, by the beginning of its name. All others are
# enlarged to DEFAULT_MINIMUM, where the smaller that would do (SqueezeNet 21, ResNet 1) see almost nothing.
MINIMUM = {"alexnet": 64, "inception": 75, "maxvit": 224, "vit": 224}
DEFAULT_MINIMUM = 32
FIXED = ("maxvit", "vit")  # built for one size
AUXILIARY = ("googlenet", "inception_v3")  # with further heads, used in training alone; ours are built without
# Where a file of weights is not recognised by its name, torchvision's first weights say how its kind preprocesses.
FIRST_WEIGHTS = "IMAGENET1K_V1"


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """What a model demands: channels (None: any), pixels per side exactly (None: any) and at least."""

    channels: int | None = None
    size: int | None = None
    minimum: int = 1


def names() -> list[str]:
    """Every model that can be named: ours and torchvision's classifiers."""
    return [*SMALL, *zoo.list_models(module=zoo)]


def build(model: ModelField, num_classes: int, weights: str | None = None, load: bool = True) -> nn.Module:
    """Return a network with `num_classes` outputs and a fresh head.

    weights: a torchvision name, or a path to a state dict. Everything but the head is loaded from it, strictly.
    load: False builds what these weights are for and leaves them unread. UserError for an unknown name, or weights
    that do not fit.
    """
    if callable(model):
        network = model(num_classes)
        if not isinstance(network, nn.Module):
            raise UserError(f"the recipe's model function returned {type(network).__name__}, not an nn.Module")
    elif model in SMALL:
        network = SMALL[model].build(num_classes)
    else:
        network = _from_zoo(model, num_classes, weights)
    if weights is not None and load:
        load_backbone(network, read_weights(model, weights), weights)
    return network


def _from_zoo(name: str, num_classes: int, weights: str | None) -> nn.Module:
    if name not in names():
        hint = did_you_mean(name, names()) or "For example resnet18, mobilenet_v2, densenet121, vgg16, vit_b_16."
        raise UserError(f"no model '{name}'", next_step=hint)
    extra: dict[str, Any] = {}
    if name in AUXILIARY:
        # The ImageNet weights were trained on another normalisation, which the network undoes itself. Always so: the
        # state dict does not say, and a network built again from its own weights must be the same function.
        extra = {"aux_logits": False, "init_weights": False, "transform_input": True}
    size = input_of(name, weights).size
    if name.startswith("vit") and size != MINIMUM["vit"]:
        extra = {"image_size": size}
    return zoo.get_model(name, weights=None, num_classes=num_classes, **extra)


def input_of(model: ModelField, weights: str | None = None) -> InputSpec:
    """What a model wants to see. A function wants whatever the data is."""
    if callable(model):
        return InputSpec()
    if model in SMALL:
        return InputSpec(SMALL[model].channels, SMALL[model].size, SMALL[model].size)
    minimum = next((size for prefix, size in MINIMUM.items() if model.startswith(prefix)), DEFAULT_MINIMUM)
    if not model.startswith(FIXED):
        return InputSpec(3, None, minimum)
    preprocessing = weights_preprocessing(model, weights) if weights else None
    size = preprocessing.crop if preprocessing else minimum
    return InputSpec(3, size, size)


def weights_preprocessing(model: ModelField, weights: str) -> Preprocessing | None:
    """Return what torchvision's weights were trained for; None for our own networks and for functions.

    For a file: the preprocessing of the weights that torchvision publishes under its name, else of the first.
    """
    if callable(model) or model not in zoo.list_models(module=zoo):
        return None
    known = zoo.get_model_weights(model)
    if weights == "DEFAULT" or weights in known.__members__:
        return from_weights(known[weights])
    named = [w for w in known if Path(w.url).name == Path(weights).name]
    first = known.__members__.get(FIRST_WEIGHTS) or next(iter(known), None)
    return from_weights(named[0] if named else first) if first else None


def read_weights(model: ModelField, weights: str) -> dict[str, torch.Tensor]:
    """Return the state dict of a torchvision name (downloaded, and its hash checked) or of a file."""
    path = Path(weights).expanduser()
    if path.is_file():
        return read_state_dict(path)
    if path.suffix or "/" in weights:
        raise UserError("no such weights file", path, "Look at --set weights=.")
    if callable(model) or model in SMALL:
        what = "this recipe's model" if callable(model) else model
        raise UserError(f"{what} has no published weights '{weights}'", next_step="Use --set weights=none or a path.")
    known = zoo.get_model_weights(model)
    if weights not in ("DEFAULT", *known.__members__):
        names = ["DEFAULT", *known.__members__]
        hint = did_you_mean(weights, names) or f"There are {', '.join(names)}; or give a path."
        raise UserError(f"{model} has no weights '{weights}'", next_step=hint)
    return _download(known[weights])


def architecture(model: ModelField) -> str:
    """Say where the network comes from: torchvision:NAME, ignite_vision:NAME, or recipe:MODULE:FUNCTION."""
    if isinstance(model, functools.partial):
        return architecture(model.func)
    if callable(model):
        return f"recipe:{model.__module__}:{getattr(model, '__qualname__', type(model).__qualname__)}"
    return f"ignite_vision:{model}" if model in SMALL else f"torchvision:{model}"
