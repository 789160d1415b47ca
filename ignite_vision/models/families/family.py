"""What a model family is: one value that answers everything the package asks about its models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NoReturn

import torch
from torch import nn

from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.errors import UserError

State = dict[str, torch.Tensor]


class NotInstalled(UserError):
    """A library that a family needs is not here: nothing is wrong with the file that names its model."""


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """What a model demands: channels (None: any), pixels per side exactly (None: any) and at least.

    resizable: it can be built for another size than this one.
    """

    channels: int | None = None
    size: int | None = None
    minimum: int = 1
    resizable: bool = False


def no_preprocessing(_name: str, _weights: str) -> Preprocessing | None:
    """Return None: nothing is known of these weights."""
    return None


def no_notes(_name: str, _weights: str) -> tuple[str, ...]:
    """Return nothing: these weights are used as they were trained."""
    return ()


def no_licence(_name: str, _weights: str) -> str | None:
    """Return None: the licence is not known."""
    return None


def no_weights(name: str, weights: str) -> NoReturn:
    """Refuse: the family publishes no weights."""
    raise UserError(f"{name} has no published weights '{weights}'", next_step="Use --set weights=none or a path.")


def no_default(_name: str) -> bool:
    """Return False: the family publishes no weights."""
    return False


def no_count(_name: str) -> int | None:
    """Return None: it takes building the network to count its parameters."""
    return None


def as_it_is(_name: str, state: State, _image_size: int | None) -> State:
    """Return the state dict: it has the names and shapes of today's network."""
    return state


@dataclasses.dataclass(frozen=True)
class Family:
    """A family is one file in this folder that ends with `FAMILY = Family(...)`; nothing else names it.

    Its functions are only asked about models that it owns. `weights` is what a recipe says: a published name such as
    "DEFAULT", or (for `demands`, `preprocessing`, `notes` and `licence`) a path.
    """

    prefix: str
    """Of the architecture in a model file: `torchvision` in `torchvision:resnet50`. `PREFIX:NAME` is always a name."""
    names: Callable[[], list[str]]
    """Every model that can be listed, without the prefix. Where two families share one, the first family builds it."""
    build: Callable[[str, int, int | None], nn.Module]
    """(name, num_classes, pixels per side or None) -> a network with fresh weights. The size is for networks that
    are built for one, and may be ignored by others. UserError for a size that it cannot be built for."""
    demands: Callable[[str, str | None], InputSpec]
    """(name, weights) -> what the network demands of its images, with these weights."""
    owns: Callable[[str], bool] | None = None
    """Whether it has this model, where `names` does not list all; None: what `names` lists. It is asked anything."""
    by_prefix_only: bool = False
    """Whether its models are only named with the prefix: many share a name with another family's."""
    preprocessing: Callable[[str, str], Preprocessing | None] = no_preprocessing
    """(name, weights) -> what these weights were trained for; None if that is not known."""
    notes: Callable[[str, str], tuple[str, ...]] = no_notes
    """(name, weights) -> sentences: what is done otherwise here than these weights were trained with."""
    read_weights: Callable[[str, str], State] = no_weights
    """(name, published name) -> state dict, downloaded if need be. UserError for an unknown name, with the nearest."""
    weights_identity: Callable[[str, str], str] = no_weights
    """(name, published name) -> which file that means in this version, with its hash: `resnet50-11ad3fa6.pth`."""
    source: Callable[[str, str], str] = no_weights
    """(name, published name) -> who publishes which weights, for a reader: `torchvision:resnet50 IMAGENET1K_V2`."""
    licence: Callable[[str, str], str | None] = no_licence
    """(name, weights) -> licence of the published weights, or where it stands; None if that is not known."""
    published: Callable[[str], bool] = no_default
    """Whether weights are published as DEFAULT for this model."""
    fit: Callable[[str, State, int | None], State] = as_it_is
    """(name, a file's state dict, pixels per side) -> the same as today's network of that size names and shapes it."""
    as_trained: Callable[[str, int, int | None], nn.Module] | None = None
    """As `build`, the network that the published weights are of, head included; None: `build` makes the same."""
    parts: Callable[[str, str | None], list[tuple[str, str | None]]] | None = None
    """(name, weights) -> the models that it is made of, each with its weights; None: its models are one network. Then
    `read_weights` gets paths as well."""
    parameters: Callable[[str], int | None] = no_count
    """Number of parameters with the published head, where it is known without building the network."""

    def has(self, name: str) -> bool:
        """Whether this family has a model of that name."""
        return self.owns(name) if self.owns else name in self.names()
