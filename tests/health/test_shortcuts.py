"""Classes that are given away by what is not in the picture."""

import numpy as np
import pytest
from PIL import ImageOps

from ignite_vision.health.shortcuts import FOLDS, given_away, sample, shortcuts
from tests.helpers.pictures import picture, save

CLASSES = "abcdef"


@pytest.fixture
def planted(tmp_path, scanned):
    """Return a function that makes 6 classes of 12 pictures, makes one otherwise, and looks for shortcuts."""

    def plant(odd=None):
        for c, name in enumerate(CLASSES):
            for i in range(12):
                seed = 100 * c + i
                image = picture(seed, (60 + seed * 7 % 30, 60 + seed * 11 % 30))
                image, suffix, saved = (
                    odd(image) if odd and name == "c" else (image, "jpg", {"quality": 80 + seed % 10})
                )
                save(tmp_path, f"{name}/{i:02}.{suffix}", image, **saved)
        return {finding.kind: finding for finding in shortcuts(*scanned(tmp_path))}

    return plant


def test_classes_that_only_their_pictures_tell_apart_have_no_shortcut(planted):
    assert planted() == {}


def test_a_class_of_another_format_must_be_fixed(planted):
    found = planted(lambda image: (image, "png", {}))
    assert list(found) == ["shortcut_format"]
    assert found["shortcut_format"].level == "must"
    assert "'c' can be told by the format of the file alone (JPEG, PNG)" in found["shortcut_format"].message


def test_a_class_of_one_size_is_given_away(planted):
    found = planted(lambda image: (image.resize((77, 77)), "jpg", {"quality": 85}))
    assert list(found) == ["shortcut_file"]
    assert found["shortcut_file"].message.startswith("'c' can be told by size, format or bytes a pixel alone")


def test_a_class_with_a_white_border_is_given_away(planted):
    found = planted(lambda image: (ImageOps.expand(image, 4, "white"), "jpg", {"quality": 85}))
    assert list(found) == ["shortcut_border"]


def test_a_class_that_alone_is_grey_is_given_away(planted):
    found = planted(lambda image: (image.convert("L"), "jpg", {"quality": 85}))
    assert "shortcut_grey" in found
    assert found["shortcut_grey"].message.startswith("'c': grey where other classes are coloured")


def test_equal_facts_give_nothing_away():
    assert given_away(np.ones((40, 2)), np.arange(40) % 2, ("a", "b")) is None


def test_of_many_images_some_of_every_class_are_looked_at():
    targets = np.repeat([0, 1, 2, 3], [9_000, 3_000, 5, 30])
    chosen = sample(targets, np.ones(len(targets), dtype=bool))
    assert len(chosen) == 5_000
    assert np.bincount(targets[chosen], minlength=4)[[0, 1, 2, 3]].tolist() == pytest.approx([3741, 1247, 0, 12], abs=2)


def test_of_two_classes_one_is_given_away_too():
    format_of, random = np.repeat([[0.0], [1.0]], 20, axis=0), np.random.default_rng(0).random((40, 1))
    targets = np.repeat([0, 1], 20)
    assert given_away(np.hstack([format_of, random]), targets, ("a", "b")) == (["a", "b"], 1.0)
    assert given_away(random, targets, ("a", "b")) is None


def test_of_many_images_a_class_of_which_too_few_are_drawn_is_left_out():
    targets = np.concatenate([np.repeat(np.arange(100), 600), np.full(12, 100)])
    drawn = np.bincount(targets[sample(targets, np.ones(len(targets), dtype=bool))])
    assert len(drawn) == 100 and drawn.min() >= FOLDS
