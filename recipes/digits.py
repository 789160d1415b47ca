"""Handwritten digits with a small CNN: seconds on a laptop, no download.

    ignite-vision run digits

Expect 0.990 test accuracy (0.989 to 0.993, 3 seeds), in seconds on 2 cores.
Data: 1,797 real digits of 8x8 pixels that come with scikit-learn (Alpaydin, Kaynak 1998: the test part of UCI's
"Optical Recognition of Handwritten Digits"). It gives no split: a quarter is cut off for test, stratified.
"""

from ignite_vision import Recipe, datasets

recipe = Recipe(
    data=datasets.digits,
    test_fraction=0.25,
    model="digits_cnn",
    optimizer="adam",
    lr=2e-3,
    schedule="cosine",
    epochs=20,
    batch_size=64,
)
