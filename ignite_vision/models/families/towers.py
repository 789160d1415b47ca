"""Several networks side by side, `A+B`: each frozen, with its own size and normalisation, and one head on them all.

Each part is named as it is alone, and so are its weights: `mobilenet_v2+timm:tf_efficientnet_lite2`.
"""

from __future__ import annotations

import functools

import torch
from torch import nn
from torch.nn import functional as F

from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.errors import UserError
from ignite_vision.models.families import find
from ignite_vision.models.families.family import Family, InputSpec, State
from ignite_vision.models.head import find_head
from ignite_vision.models.meta import answer_shape, without_memory
from ignite_vision.models.pretrained import read_weights as read_weights_of
from ignite_vision.models.weights import load_backbone

PLUS = "+"
MOST = 8  # networks in one model
OF_A_HEAD = 2  # outputs of a head that is taken away; with one, a second head's sum would fit every shape
LENGTH = 32.0  # of each network's features, so that they are near 1: a thousand or so numbers


class Tower(nn.Module):
    """A network without its head, with its own size and normalisation.

    These are buffers, so that a model file has them: a row of `width` pixels each.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing):
        super().__init__()
        self.network = network
        pixels = (1, 3, 1, preprocessing.crop)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1).expand(pixels) for v in (preprocessing.mean, preprocessing.std))
        self.register_buffer("scale", (1 / std).contiguous())
        self.register_buffer("shift", (-mean / std).contiguous())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N,3,S,S) float, values in [0,1] -> features (N,d) float32 of length LENGTH."""
        side = self.scale.shape[-1]
        if images.shape[-1] != side:
            images = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
        features = self.network(images * self.scale + self.shift)
        return LENGTH * F.normalize(features.flatten(1).float(), dim=1)


class Towers(nn.Module):
    """Features of several networks side by side, and one linear head."""

    def __init__(self, towers: list[Tower], features: int, num_classes: int):
        super().__init__()
        self.towers = nn.ModuleList(towers)
        self.head = nn.Linear(features, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N,3,S,S) float, values in [0,1], S as the largest tower's -> logits (N, num_classes)."""
        return self.head(torch.cat([tower(images) for tower in self.towers], dim=1))


def names() -> list[str]:
    """No name: sums are too many to list."""
    return []


def owns(name: str) -> bool:
    """Whether this is a sum of networks that other families have. UserError for a part that none has, or too many."""
    models = name.split(PLUS)
    if len(models) < 2 or not all(models):
        return False
    if len(models) > MOST:
        raise UserError(f"a model of {len(models)} networks", next_step=f"Use {MOST} at most.")
    for model in models:
        find(model)
    return True


def parts(name: str, weights: str | None) -> list[tuple[str, str | None]]:
    """Return each network with its weights: DEFAULT for all, or as many as there are networks, in their order.

    UserError for another number.
    """
    models = name.split(PLUS)
    if weights is None or weights == "DEFAULT":
        return [(model, weights) for model in models]
    texts = weights.split(PLUS)
    if len(texts) != len(models):
        what = f"{len(models)} networks and {len(texts)} {'file' if len(texts) == 1 else 'files'} of weights"
        raise UserError(what, weights, "Name one for each, joined by a plus, or use DEFAULT.")
    return [*zip(models, texts, strict=True)]


def build(name: str, num_classes: int, _image_size: int | None) -> nn.Module:
    """Return the networks with fresh weights and one head. UserError for one whose features cannot be separated."""
    models = name.split(PLUS)
    widths = [_width(model) for model in models]
    return Towers([_tower(model, None) for model in models], sum(widths), num_classes)


def demands(name: str, weights: str | None) -> InputSpec:
    """Three channels, and the pixels of the largest tower."""
    size = max(_preprocessing(model, text).crop for model, text in parts(name, weights))
    return InputSpec(3, size, size)


def preprocessing(name: str, weights: str) -> Preprocessing:
    """Return that of the tower with the most pixels, with values in [0,1]: each tower normalises for itself."""
    largest = max((_preprocessing(model, text) for model, text in parts(name, weights)), key=lambda one: one.crop)
    return Preprocessing(
        channels=3,
        resize=largest.resize,
        crop=largest.crop,
        interpolation=largest.interpolation,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        bars=largest.grey,
    )


def read_weights(name: str, weights: str) -> State:
    """Return the state dict of all towers, each from its own weights. UserError names those that do not fit."""
    found: State = {}
    for i, (model, text) in enumerate(parts(name, weights)):
        tower = _tower(model, text)
        found |= {f"towers.{i}.{key}": tensor for key, tensor in tower.state_dict().items()}
    return found


def _tower(model: str, weights: str | None) -> Tower:
    """Return a network without its head, with its weights if there are any."""
    family, name = find(model)
    used = _preprocessing(model, weights)
    network = family.build(name, OF_A_HEAD, used.crop)
    if weights is not None:
        load_backbone(network, read_weights_of(model, weights, used.crop), weights)
    return Tower(_without_head(network), used)


def _preprocessing(model: str, weights: str | None) -> Preprocessing:
    """Return what a network is shown: what its weights were trained for, at the size that it is built for.

    Without weights, or where nothing is known of them: the published size.
    """
    family, name = find(model)
    spec = family.demands(name, weights)
    known = family.preprocessing(name, weights or "DEFAULT")
    size = spec.size or (known.crop if known else spec.minimum)
    if known is None or spec.channels not in (None, 3):
        raise UserError(f"{model} cannot be one of several networks", next_step="Use models with pretrained weights.")
    as_it_comes = ((0.0,) * 3, (1.0,) * 3)  # random weights: the images are normalised before, as for every model
    mean, std = (known.mean, known.std) if weights else as_it_comes
    return Preprocessing(
        channels=3,
        resize=round(known.resize * size / known.crop),
        crop=size,
        interpolation=known.interpolation,
        mean=mean,
        std=std,
    )


@functools.cache
def _width(model: str) -> int:
    """Number of features of a network. UserError if what comes before its head is not all that it computes."""
    family, name = find(model)
    size = _preprocessing(model, None).crop
    network = without_memory(lambda: family.build(name, OF_A_HEAD, size))
    head = find_head(network)[1]
    width = int(getattr(head, "in_features", 0) or getattr(head, "in_channels", 0))
    try:
        fits = answer_shape(Tower(_without_head(network), _preprocessing(model, None)), 3, size) == (2, width)
    except (RuntimeError, ValueError, AssertionError, TypeError):
        fits = False
    if not fits:
        what = f"{model} cannot be one of several networks: its features cannot be separated from its head"
        raise UserError(what, next_step="Choose another.")
    return width


def _without_head(network: nn.Module) -> nn.Module:
    """Put nothing in the place of a network's head, and return the network."""
    name = find_head(network)[0]
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    return network


FAMILY = Family(
    prefix="towers",
    names=names,
    owns=owns,
    build=build,
    demands=demands,
    preprocessing=preprocessing,
    read_weights=read_weights,
    parts=parts,
)
