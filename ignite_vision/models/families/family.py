"""What a model family is: one value that answers everything the package asks about its models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NoReturn

import torch
from torch import nn

from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.errors import UserError


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """What a model demands: channels (None: any), pixels per side exactly (None: any) and at least."""

    channels: int | None = None
    size: int | None = None
    minimum: int = 1


def no_preprocessing(_name: str, _weights: str) -> Preprocessing | None:
    """Return None: nothing is known of these weights."""
    return None


def no_licence(_name: str, _weights: str) -> str | None:
    """Return None: the licence is not known."""
    return None


def no_weights(name: str, weights: str) -> NoReturn:
    """Refuse: the family publishes no weights."""
    raise UserError(f"{name} has no published weights '{weights}'", next_step="Use --set weights=none or a path.")


@dataclasses.dataclass(frozen=True)
class Family:
    """A family is one file in this folder that ends with `FAMILY = Family(...)`; nothing else names it.

    Its functions are only asked about models in `names()`. `weights` is what a recipe says: a published name such as
    "DEFAULT", or (for `demands`, `preprocessing` and `licence`) a path.
    """

    prefix: str
    """Of the architecture in a model file: `torchvision` in `torchvision:resnet50`."""
    names: Callable[[], list[str]]
    """Every model that can be named. Where two families share a name, the first family builds it."""
    build: Callable[[str, int, int | None], nn.Module]
    """(name, num_classes, pixels per side or None) -> a network with fresh weights. The size is for networks that
    are built for one, and may be ignored by others. UserError for a size that it cannot be built for."""
    demands: Callable[[str, str | None], InputSpec]
    """(name, weights) -> what the network demands of its images, with these weights."""
    preprocessing: Callable[[str, str], Preprocessing | None] = no_preprocessing
    """(name, weights) -> what these weights were trained for; None if that is not known."""
    read_weights: Callable[[str, str], dict[str, torch.Tensor]] = no_weights
    """(name, published name) -> state dict, downloaded if need be. UserError for an unknown name, with the nearest."""
    weights_identity: Callable[[str, str], str] = no_weights
    """(name, published name) -> which file that means in this version, with its hash: `resnet50-11ad3fa6.pth`."""
    licence: Callable[[str, str], str | None] = no_licence
    """(name, weights) -> licence of the published weights, or where it stands; None if that is not known."""
