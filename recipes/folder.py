"""Your own images: a folder with one subfolder per class.

    ignite-vision run PHOTOS/
    ignite-vision run PHOTOS/ --set model=resnet50

Expect 0.967 test accuracy on 25 classes of Caltech-101, 1,692 photographs. mobilenet_v2 is the default since it needs
no further package and predicts fastest of the four in docs/probe.md; another network may have one or two points more on
your images (benchmarks/results/heads.md), and `ignite-vision probe PHOTOS/` says which.

Transfer learning: a pretrained network, frozen, and a new linear head by logistic regression, an epoch for each
strength of weight decay. Where that is not possible (`--set trainable=all`, a head that is not linear), the optimizer
trains. On a CPU a head alone beats fine-tuning by far in the time that it takes.
PHOTOS/ may have train/, val/ and test/ above the class folders; what is missing is cut off, stratified.
"""

import torch
from torch import nn

from ignite_vision import Recipe, datasets


def adamw(params: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Build AdamW with enough decay for a head on a few hundred images."""
    return torch.optim.AdamW(params, lr, weight_decay=0.05)


recipe = Recipe(
    data=datasets.image_folder,
    val_fraction=0.125,
    test_fraction=0.125,
    model="mobilenet_v2",
    weights="DEFAULT",
    trainable="head",
    head="auto",  # logistic regression; what follows is for networks and fields that rule it out
    optimizer=adamw,
    lr=3e-3,
    schedule="cosine",
    epochs=20,
    batch_size=64,
)
