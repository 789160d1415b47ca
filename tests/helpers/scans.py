"""Folders of pictures as `check` looks at them."""

from ignite_vision import datasets
from ignite_vision.data.splits import cut
from ignite_vision.health.collection import Collection
from ignite_vision.health.scan import scan


def collected(folder):
    """Return a folder's images, in the splits that `run` would make."""
    given = datasets.image_folder(folder)
    return Collection(cut(given, 0.1, 0.125, 0), frozenset(name for name, _ in given.items()))


def scanned(folder):
    """Return a folder's images and their records."""
    images = collected(folder)
    return images, scan(images, 0, lambda line: None)
