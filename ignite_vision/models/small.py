"""Our own small networks, for small pictures. Each states what it wants to see."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch import nn


@dataclasses.dataclass(frozen=True)
class Small:
    """A function num_classes -> network, and the images it is made for: channels, and pixels per side."""

    build: Callable[[int], nn.Module]
    channels: int
    size: int


def cifar10_cnn(num_classes: int) -> nn.Sequential:
    """Build three 3x3 convolutions of 16, 32 and 64 with pooling, then 64 hidden units. (N,3,32,32) -> (N,C)."""
    widths = ((3, 16), (16, 32), (32, 64))
    blocks = [layer for inputs, outputs in widths for layer in _block(inputs, outputs, 3)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(64 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, num_classes))


def fashion_mnist_cnn(num_classes: int) -> nn.Sequential:
    """Build 5x5 convolutions of 12 and 20 with pooling, then 200 hidden units. (N,1,28,28) -> (N,C)."""
    blocks = [*_block(1, 12, 5), *_block(12, 20, 5)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(20 * 7 * 7, 200), nn.ReLU(), nn.Linear(200, num_classes))


def digits_cnn(num_classes: int) -> nn.Sequential:
    """Build 3x3 convolutions of 16 and 32 with BatchNorm, pooled once. (N,1,8,8) -> (N,C)."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, num_classes),
    )


def _block(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    # pooled before ReLU: the same numbers to the bit, also backward, from a quarter of the work
    return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.MaxPool2d(2), nn.ReLU()]


SMALL = {
    "cifar10_cnn": Small(cifar10_cnn, channels=3, size=32),
    "fashion_mnist_cnn": Small(fashion_mnist_cnn, channels=1, size=28),
    "digits_cnn": Small(digits_cnn, channels=1, size=8),
}
