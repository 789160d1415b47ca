"""Hashes are kept by what a file is, and found again whatever part of a folder is asked for."""

import os

import numpy as np
import pytest

from ignite_vision import datasets
from ignite_vision.data import hash_store
from ignite_vision.data.hash_store import keep, kept
from ignite_vision.system.files import cache_home
from ignite_vision.testing import digits


@pytest.fixture
def images(image_folder):
    return datasets.image_folder(image_folder).train


def made_up(places):
    """Return places, and a hash for each."""
    return np.array(places), np.array([np.full((2, 4), i + 1, dtype=np.uint64) for i in places])


def test_what_is_kept_is_found_by_another_part_of_the_folder(images):
    keep(images, *made_up([3, 5]))
    keep(images.subset([7, 9]), *made_up([0]))
    found, known = kept(images.subset([9, 7, 5, 4, 3]))
    assert known.tolist() == [False, True, True, False, True]
    assert found[:, 0, 0].tolist() == [0, 1, 6, 0, 4]
    assert found.dtype == np.uint64


def test_a_file_that_changed_is_not_known(images):
    keep(images, *made_up(range(4)))
    os.utime(images.path(2), (1, 1))
    images.path(3).write_bytes(b"other")
    assert kept(images)[1][:4].tolist() == [True, True, False, False]


def test_arrays_are_known_by_their_pixels():
    images = digits().train
    keep(images, *made_up([1]))
    assert np.flatnonzero(kept(images)[1]).tolist() == [1]
    assert not kept(images.subset(range(5)))[1].any()


@pytest.mark.parametrize("damage", [b"", b"no array", bytes(71), bytes(144), bytes(range(144))])
def test_a_damaged_file_is_as_none(images, damage):
    keep(images, *made_up([0]))
    [path] = cache_home().glob("hashes-*")
    path.write_bytes(damage)
    assert not kept(images)[1].any()
    keep(images, *made_up([1]))
    assert np.flatnonzero(kept(images)[1]).tolist() == [1]


def test_a_full_disk_keeps_nothing_and_says_nothing(images, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hash_store, "replacing", full)
    keep(images, *made_up([0]))
    assert not kept(images)[1].any()
