"""All that makes a run hard to repeat: a data set that draws from three generators, dropout, BatchNorm, a schedule.

Also early stopping, augmentation, gradients summed over two passes, and averaged weights kept by a handler.
"""

import random

import numpy as np
import torch
from ignite.handlers import EMAHandler
from torch import nn
from torch.utils.data import Dataset

from ignite_vision import Recipe, Splits
from ignite_vision.augment import RandomHorizontalFlip


class Restless(Dataset):
    """Pictures that are never twice the same, and draw a different number of random numbers each time."""

    def __init__(self, n):
        self.targets = [i % 3 for i in range(n)]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        image = np.full((8, 8, 1), 60 * self.targets[i], np.float64)
        for _ in range(random.randint(1, 3)):
            image += np.random.uniform(0, 20, image.shape)
        image += torch.randint(0, 30, (8, 8, 1)).numpy() * random.random()
        return image.astype(np.uint8), self.targets[i]


def data(folder):
    return Splits(train=Restless(108), classes=("dark", "middle", "bright"))


def model(num_classes):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(144, num_classes)
    )


def handlers(run):
    average = EMAHandler(run.model, momentum=0.1)
    average.attach(run.trainer)
    run.persist("average", average.ema_model)


recipe = Recipe(
    data=data,
    val_fraction=0.2,
    test_fraction=0.2,
    model=model,
    augment=(RandomHorizontalFlip(),),
    optimizer="adam",
    lr=0.01,
    schedule="cosine",
    epochs=4,
    batch_size=16,
    accumulate=2,
    patience=3,
    precision="fp32",
    handlers=handlers,
)
