"""What numbers say of a picture."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from ignite_vision.data.images import from_pillow
from ignite_vision.health.faults import BLURRED
from ignite_vision.health.measures import SHORT, edges, measure
from tests.helpers.pictures import picture


def test_one_colour_has_no_contrast_and_no_sharpness():
    found = measure(torch.full((3, 50, 60), 30, dtype=torch.uint8))
    assert (found.contrast, found.colour) == (0, 0)
    assert found.brightest == pytest.approx(30)
    assert np.isnan(found.sharpness)
    assert found.border.tolist() == [30, 30, 30]


def test_the_border_is_the_frame_alone():
    image = torch.zeros((3, 64, 96), dtype=torch.uint8)
    image[0, 4:-4, 4:-4] = 255
    assert measure(image).border.tolist() == [0, 0, 0]
    image[2] = 200
    assert measure(image).border.tolist() == [0, 0, 200]


def test_a_grey_image_of_one_channel_measures_as_its_rgb():
    grey = torch.from_numpy(np.asarray(picture(1).convert("L"))[None].copy())
    one, three = measure(grey), measure(grey.expand(3, -1, -1))
    assert one.colour == three.colour == 0
    assert one.contrast == pytest.approx(three.contrast, abs=0.01)
    assert one.sharpness == pytest.approx(three.sharpness, abs=0.01)


def test_colour_is_seen():
    assert measure(from_pillow(picture(2))).colour > 20


def test_blur_lowers_sharpness_at_every_size():
    tiles = Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8))
    for scale in (1, 2, 4):
        sharp = tiles.resize((364 * scale, 260 * scale), Image.Resampling.NEAREST)
        blurred = sharp.filter(ImageFilter.GaussianBlur(4 * scale))
        assert measure(from_pillow(blurred)).sharpness < BLURRED < measure(from_pillow(sharp)).sharpness


def test_a_sharp_corner_is_enough():
    image = np.full((SHORT, SHORT), 100.0, dtype=np.float32)
    image[:64, :64] = np.random.default_rng(0).integers(0, 256, (64, 64))
    assert edges(image) > 100


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (17, 17), (300, 3), (4000, 300)])
def test_every_size_is_measured(size):
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    found = measure(image)
    assert 0 <= found.contrast <= 128
    assert found.border.shape == (3,)
