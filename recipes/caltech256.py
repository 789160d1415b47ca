"""Caltech-256 with a frozen DenseNet-121 and a new linear head.

    ignite-vision run caltech256

Expect: not measured on all of Caltech-256 with these weights, which were not available; 0.955 on ten of its categories
with mobilenet_v2 (README).
Data: 30,607 photographs in 256 categories and clutter, 257 classes (Griffin, Holub, Perona 2007), cut 75 / 12.5 /
12.5, stratified. Source: a tutorial that let the frozen BatchNorm drift, left out ImageNet's normalisation, and
drew another split each time.
"""

from ignite_vision import Recipe, datasets

recipe = Recipe(
    data=datasets.caltech256,
    val_fraction=0.125,
    test_fraction=0.125,
    model="densenet121",  # any classifier of torchvision
    weights="DEFAULT",  # its own resize, crop, mean and std come with it
    trainable="head",  # the rest is frozen, BatchNorm statistics included
    optimizer="adam",
    lr=1e-3,
    epochs=5,
    batch_size=32,
)
