"""Near-identical images are shown side by side with the split of each."""

import shutil

import numpy as np
import pytest
import torch

from ignite_vision import datasets
from ignite_vision.data import hash_store
from ignite_vision.data.containers import ArrayImages
from ignite_vision.data.duplicates import hashes
from ignite_vision.data.splits import Splits
from ignite_vision.health.duplicates import Row
from ignite_vision.report import twins as module
from ignite_vision.report.twins import known_pairs, twins
from tests.helpers.pictures import write_pictures


@pytest.fixture
def splits(tmp_path):
    """Two splits of a folder, with a picture of train in test, under another class."""
    for split in ("train", "test"):
        write_pictures(tmp_path / split, classes=2, each=4, first=0 if split == "train" else 500)
    shutil.copy(tmp_path / "train" / "a" / "01.jpg", tmp_path / "test" / "b" / "twin.jpg")
    shutil.copy(tmp_path / "train" / "a" / "02.jpg", tmp_path / "train" / "a" / "again.jpg")
    return datasets.image_folder(tmp_path)


def row(a, b, bits=0, mirrored=False):
    return Row(a, b, bits, mirrored, a.split("/")[0], b.split("/")[0])


def test_pairs_across_splits_come_first_with_what_is_known_of_them(splits):
    rows = [
        row("train/a/02.jpg", "train/a/again.jpg"),
        row("train/a/01.jpg", "test/b/twin.jpg", bits=3, mirrored=True),
        row("train/a/gone.jpg", "train/a/00.jpg"),
    ]
    found = twins(rows, splits)
    assert (found.n, found.across, len(found.shown)) == (2, 1, 2)
    (one, other, text), (_, _, same) = found.shown
    assert (one.name, one.split, other.split) == ("train/a/01.jpg", "train", "test")
    assert one.src.startswith("data:image/webp")
    assert text == "3 of 256 bits differ, mirrored; a and b"
    assert same == "none of 256 bits differs"


def test_hashes_that_were_kept_give_the_pairs(splits):
    assert known_pairs(splits) is None
    for _, images in splits.items():
        hashes(images, print)
    found = known_pairs(splits)
    assert [(pair.a, pair.b, pair.split_a, pair.split_b) for pair in found] == [
        ("train/a/01.jpg", "test/b/twin.jpg", "train", "test"),
        ("train/a/02.jpg", "train/a/again.jpg", "train", "train"),
    ]
    assert twins(found, splits).across == 1


def test_too_many_images_are_not_compared(splits, monkeypatch):
    monkeypatch.setattr(module, "MOST", 5)
    for _, images in splits.items():
        hashes(images, print)
    assert known_pairs(splits) is None


def test_a_mirrored_pair_is_called_so(splits):
    image = torch.cat([splits.train[0][0][:, :80, :80], splits.train[1][0][:, :80, :80]], 2)
    images = ArrayImages(torch.stack([image, image.flip(2)]), [0, 0])
    both = Splits(images, None, None, ("a", "b"))
    hash_store.keep(images, np.arange(2), hashes(images, print))
    (pair,) = known_pairs(both)
    assert pair.mirrored
