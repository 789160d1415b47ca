"""Small pictures: their own aspect, few bytes, and nothing but data in their addresses."""

import base64
import io

import numpy as np
import torch
from PIL import Image

from ignite_vision.report.thumbnails import COLUMNS, SPOT, heat_picture, sheet, thumbnail, webp


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_thumbnail_keeps_its_aspect_and_a_small_image_its_size():
    assert thumbnail(torch.zeros(3, 300, 400, dtype=torch.uint8)).size == (176, 132)
    assert thumbnail(torch.zeros(1, 8, 8, dtype=torch.uint8)).size == (8, 8)


def test_a_tiny_image_keeps_every_pixel():
    image = torch.randint(0, 255, (3, 8, 8), dtype=torch.uint8)
    uri = webp(thumbnail(image))
    assert uri.startswith("data:image/webp;base64,")
    assert torch.equal(torch.from_numpy(np.array(decoded(uri).convert("RGB"))).permute(2, 0, 1), image)


def test_heat_is_opaque_where_it_is_hot_and_clear_where_it_is_not():
    heat = torch.zeros(7, 7)
    heat[0, 0] = 1
    found = decoded(heat_picture(heat))
    assert found.mode == "RGBA"
    assert found.getpixel((0, 0))[3] > 150
    assert found.getpixel((27, 27))[3] == 0


def test_a_sheet_has_the_pictures_in_rows():
    images = [torch.full((3, 50, 80), 255 * (k % 2), dtype=torch.uint8) for k in range(COLUMNS + 2)]
    found = decoded(sheet(images)).convert("L")
    assert found.size == (COLUMNS * SPOT, 2 * SPOT)
    assert found.getpixel((SPOT // 2, SPOT // 2)) < 20
    assert found.getpixel((SPOT + SPOT // 2, SPOT // 2)) > 235
