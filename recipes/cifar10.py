"""CIFAR-10 with a CNN of three convolutions.

    ignite-vision run cifar10

Expect 0.674 test accuracy (0.663 to 0.681, 3 seeds) after 4 epochs, a minute on 2 cores. Cat, bird and deer are weak,
at about half.
Data: 60,000 colour photographs of 32x32 pixels in ten classes (Krizhevsky 2009), the official test split;
validation is cut from train. Source: a tutorial that had no validation, no seed and saved nothing.
"""

from ignite_vision import Recipe, datasets

recipe = Recipe(
    data=datasets.cifar10,
    model="cifar10_cnn",  # 16-32-64 convolutions of 3x3 with pooling, 64 hidden units
    optimizer="adam",
    lr=1e-3,
    epochs=4,
    batch_size=32,
)
