"""Fashion-MNIST with a CNN of two convolutions.

    ignite-vision run fashion_mnist

Expect 0.899 test accuracy (0.893 to 0.906, 3 seeds) after 3 epochs, half a minute on 2 cores.
Data: 70,000 grey pictures of clothes, 28x28 pixels, ten classes (Xiao, Rasul, Vollgraf 2017), the official test
split; validation is cut from train. Source: a tutorial that reports 96 %, which was one training batch counted
313 times.
"""

from ignite_vision import Recipe, datasets

recipe = Recipe(
    data=datasets.fashion_mnist,
    model="fashion_mnist_cnn",  # 12 and 20 convolutions of 5x5 with pooling, 980-200-10
    optimizer="adam",
    lr=1e-3,
    epochs=3,
    batch_size=32,
)
