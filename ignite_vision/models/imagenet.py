"""Published networks as they are, with the head that they were trained with: the 1,000 classes of ImageNet."""

from __future__ import annotations

import functools
import re
from importlib import resources

from torch import nn
from torchvision import models as zoo

from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.errors import UserError
from ignite_vision.models.families import find
from ignite_vision.models.head import find_head
from ignite_vision.models.pretrained import read_weights
from ignite_vision.models.weights import load_backbone, todays_name

SYNSET = re.compile(r"n\d{8}(?!\d)")  # of WordNet: at the beginning of `n01440764` and of `n02085620-Chihuahua`


@functools.cache
def synsets() -> tuple[str, ...]:
    """The synset of each class, in the order of the networks' outputs, which is that of the synsets themselves."""
    return tuple(resources.files("ignite_vision.models").joinpath("imagenet_synsets.txt").read_text().split())


@functools.cache
def classes() -> tuple[str, ...]:
    """The name of each class, as torchvision has it. No name is there twice."""
    return tuple(zoo.ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def label_of(name: str) -> int | None:
    """Class that a folder's name means: a synset, also before a name, or the class's own name. None for no class.

    Of a name, capitals, `_` and `-` do not count: `Golden_Retriever`.
    """
    if found := SYNSET.match(name):
        return _by_synset().get(found[0])
    return _by_name().get(_plain(name))


@functools.cache
def _by_synset() -> dict[str, int]:
    return {synset: label for label, synset in enumerate(synsets())}


@functools.cache
def _by_name() -> dict[str, int]:
    return {_plain(name): label for label, name in enumerate(classes())}


def _plain(name: str) -> str:
    return " ".join(re.split(r"[\s_-]+", name.casefold().strip()))


def network(model: str, weights: str) -> nn.Module:
    """Return a network with all of its weights, head included, for images of the size of `preprocessing`.

    weights: a published name or a path. UserError for what is not known or does not fit, or answers other classes.
    """
    family, short = find(model)
    if family.parts is not None:
        what = f"{model} is several networks side by side, which have no head together"
        raise UserError(what, next_step="Name one network.")
    size = family.demands(short, weights).size
    found = (family.as_trained or family.build)(short, len(classes()), size)
    state = read_weights(model, weights, size)
    load_backbone(found, state, weights)
    name, head = find_head(found)
    given = {todays_name(key): tensor for key, tensor in state.items()}
    for part, tensor in head.state_dict().items():
        values = given.get(f"{name}.{part}")
        if values is None or values.shape != tensor.shape or not values.isfinite().all():
            what = f"these weights of {model} have no head for the {len(classes()):,} classes of ImageNet"
            raise UserError(what, weights, "Train a head on your classes: ignite-vision run DIR --set model=NAME.")
        tensor.copy_(values)
    return found.eval()


def preprocessing(model: str, weights: str) -> Preprocessing:
    """Return what these weights were trained for. UserError where nobody knows."""
    family, name = find(model)
    found = family.preprocessing(name, weights)
    if found is None:
        raise UserError(f"it is not known what images {model} was trained on", next_step="Choose another model.")
    return found
