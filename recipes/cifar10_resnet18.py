"""CIFAR-10 with a ResNet-18 from scratch, random resized crops and flips.

    ignite-vision run cifar10_resnet18
    ignite-vision run cifar10_resnet18 --set image_size=256      # as the tutorial enlarged them

Expect: not measured over its 20 epochs, which take hours on 2 cores.
Data: as cifar10. Source: a tutorial with a 1000-way head, the random crop in its test as well, and no epochs; here
ten classes, the official test split untouched, and 32 pixels because a CIFAR image has no more.
"""

import torch
from torch import nn

from ignite_vision import Recipe, datasets
from ignite_vision.augment import RandomHorizontalFlip, RandomResizedCrop


def sgd(params: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Build the tutorial's optimizer."""
    return torch.optim.SGD(params, lr, momentum=0.9, weight_decay=1e-5)


recipe = Recipe(
    data=datasets.cifar10,
    model="resnet18",
    augment=(RandomResizedCrop(scale=(0.35, 1.0)), RandomHorizontalFlip()),
    optimizer=sgd,
    lr=0.002,
    epochs=20,
    batch_size=128,
)
