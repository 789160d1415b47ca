"""Small folders of pictures with faults, and what a check makes of them."""

import pytest

from ignite_vision import datasets
from ignite_vision.data.splits import cut
from ignite_vision.health.collection import Collection
from ignite_vision.health.scan import scan
from tests.helpers.pictures import write_pictures


@pytest.fixture
def photos(tmp_path):
    """Return a folder of 3 classes with 10 different pictures each."""
    return write_pictures(tmp_path / "photos")


@pytest.fixture
def collected():
    """Return a function: a folder -> its images, in the splits that `run` would make."""

    def collect(folder):
        given = datasets.image_folder(folder)
        return Collection(cut(given, 0.1, 0.125, 0), frozenset(name for name, _ in given.items()))

    return collect


@pytest.fixture
def scanned(collected):
    """Return a function: a folder -> its images and their records."""

    def look(folder):
        images = collected(folder)
        return images, scan(images, 0, lambda line: None)

    return look
