"""The same picture has nearly the same hash, another picture another."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ignite_vision.data.hashing import NEAR, PARTNERS, distance, near_pairs, perceptual_hash
from ignite_vision.data.images import from_pillow
from tests.helpers.pictures import picture


def hash_of(image):
    return perceptual_hash(from_pillow(image))


def recompressed(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file)


COPIES = {
    "recompressed": recompressed,
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "three times the size": lambda image: image.resize((image.width * 3, image.height * 3)),
    "grey": lambda image: image.convert("L"),
    "squashed": lambda image: image.resize((image.width, image.width)),
    "mirrored": ImageOps.mirror,
    "mirrored and recompressed": lambda image: recompressed(ImageOps.mirror(image)),
}


@pytest.mark.parametrize("change", COPIES)
def test_a_copy_is_found(change):
    for seed in range(10):
        image = picture(seed)
        hashes = np.stack([hash_of(image), hash_of(COPIES[change](image))])
        assert len(near_pairs(hashes)) == 1


def test_the_mirror_images_hash_is_exactly_the_second():
    for seed in range(10):
        image = picture(seed)
        assert (hash_of(image)[::-1] == hash_of(ImageOps.mirror(image))).all()


def test_different_pictures_are_no_pairs():
    hashes = np.stack([hash_of(picture(seed)) for seed in range(60)])
    assert len(near_pairs(hashes)) == 0
    assert distance(hashes[:-1, 0], hashes[1:, 0]).min() > 2 * NEAR


def test_blank_images_are_no_pairs():
    blank = torch.full((3, 40, 40), 200, dtype=torch.uint8)
    assert not perceptual_hash(blank).any()
    assert len(near_pairs(np.stack([perceptual_hash(blank)] * 5))) == 0


def test_a_grey_image_of_one_channel_has_the_hash_of_its_rgb():
    grey = torch.from_numpy(np.asarray(picture(3).convert("L"))[None].copy())
    assert (perceptual_hash(grey) == perceptual_hash(grey.expand(3, -1, -1))).all()


@pytest.mark.parametrize("turn", [0, 1])
def test_stripes_have_no_bits_from_rounding(turn):
    stripes = np.zeros((90, 90), dtype=np.uint8)
    stripes[:, 20:50] = 200
    image = torch.from_numpy(np.rot90(stripes, turn).copy())[None]
    assert distance(perceptual_hash(image), np.zeros((2, 4), dtype=np.uint64)).max() <= 16


def test_pairs_are_sorted_and_say_how_many_bits_differ():
    hashes = np.random.default_rng(0).integers(0, 2**63, (3000, 2, 4), dtype=np.uint64)
    hashes[2500] = hashes[7]
    hashes[2500, 0, 1] ^= np.uint64(0b1011)
    hashes[1200, 0] = hashes[2999, 1]
    assert near_pairs(hashes).tolist() == [[7, 2500, 3], [1200, 2999, 0]]
    assert near_pairs(hashes, most=2).tolist() == [[1200, 2999, 0]]


def test_of_thousands_of_equal_images_each_has_a_few_partners():
    hashes = np.tile(hash_of(picture(1)), (3000, 1, 1))
    pairs = near_pairs(hashes)
    assert np.bincount(pairs[:, 0]).max() == PARTNERS
    assert set(pairs[pairs[:, 1] == pairs[:, 0] + 1, 0]) == set(range(2999))


def test_no_images_have_no_pairs():
    assert near_pairs(np.empty((0, 2, 4), dtype=np.uint64)).shape == (0, 3)


def test_copies_of_real_photographs_are_found(test_data):
    paths = sorted((test_data / "caltech101_25").glob("*/image_0007.jpg"))
    images = [Image.open(path).convert("RGB") for path in paths]
    hashes = np.stack([hash_of(copy) for image in images for copy in (image, *(c(image) for c in COPIES.values()))])
    n = 1 + len(COPIES)
    found = {(i, j) for i, j, _ in near_pairs(hashes).tolist()}
    expected = {(n * k, n * k + c) for k in range(len(images)) for c in range(1, n)}
    assert len(expected - found) <= 0.01 * len(expected)
    assert not any(i // n != j // n for i, j in found)
