"""Our own small networks, for small pictures."""

from __future__ import annotations

from torch import nn

from ignite_vision.models.families.family import Family, InputSpec
from ignite_vision.models.small import SMALL


def names() -> list[str]:
    """Every one of our networks."""
    return list(SMALL)


def build(name: str, num_classes: int, _image_size: int | None) -> nn.Module:
    """Return the network with fresh weights, for the one size of images that it is made for."""
    return SMALL[name].build(num_classes)


def demands(name: str, _weights: str | None) -> InputSpec:
    """Return the channels and the one size that the network is made for."""
    return InputSpec(SMALL[name].channels, SMALL[name].size, SMALL[name].size)


FAMILY = Family(prefix="ignite_vision", names=names, build=build, demands=demands)
