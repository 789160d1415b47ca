"""Files that are cut off are found by their ends, and nothing that can be read is refused."""

import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ignite_vision import datasets
from ignite_vision.data import integrity
from ignite_vision.data.containers import ArrayImages, ImageFiles
from ignite_vision.data.images import read_image
from ignite_vision.data.integrity import quick_problem, unreadable
from ignite_vision.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow's, about TIFFs that are cut off

OPTIONS = {
    "jpg": {},
    "progressive.jpg": {"progressive": True},
    "png": {},
    "gif": {},
    "animated.gif": {"save_all": True, "append_images": [Image.new("RGB", (8, 8))]},
    "webp": {},
    "lossless.webp": {"lossless": True},
    "bmp": {},
    "tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "deflate.tif": {"compression": "tiff_adobe_deflate"},
    "ppm": {},
}


@pytest.fixture(params=OPTIONS)
def file(request, tmp_path):
    """A photograph in one of the formats."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3)).astype(np.uint8)
    path = tmp_path / f"image.{request.param}"
    Image.fromarray(pixels).save(path, **OPTIONS[request.param])
    return path


def is_readable(path):
    try:
        read_image(path)
    except UserError:
        return False
    return True


def test_a_whole_file_is_not_decoded(file, monkeypatch):
    if file.suffix == ".ppm":  # has no mark at its end, and is read
        pytest.skip("nothing to decode")
    monkeypatch.setattr(integrity, "read_image", lambda path: pytest.fail("decoded"))
    assert quick_problem(file) is None


@pytest.mark.parametrize("left", [0, 1, 7, 30, 0.3, 0.6, 0.9, -200, -70, -20, -3, -2, -1])
def test_a_file_that_is_cut_off_is_refused_exactly_if_it_cannot_be_read(file, left):
    data = file.read_bytes()
    file.write_bytes(data[: int(left * len(data)) if isinstance(left, float) else left])
    assert (quick_problem(file) is None) == is_readable(file)


def test_a_file_that_is_longer_than_its_image_is_as_good(file):
    file.write_bytes(file.read_bytes() + b"\0" * 100 + b"made by a camera" * 10)
    assert quick_problem(file) is None


def test_what_is_wrong_is_said_in_a_few_words(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert 0 < len(quick_problem(file)) < 130
    file.write_bytes(b"<html>not found</html>")
    assert quick_problem(file) == "not an image of a known format"
    file.unlink()
    assert quick_problem(file) == "No such file or directory"
    os.mkfifo(file)
    assert quick_problem(file) == "not a regular file"


def test_all_of_a_container_are_named_in_order_however_many_threads_look(image_folder, monkeypatch):
    images = datasets.image_folder(image_folder).train
    bad = [images.path(i) for i in (3, 20, 35)]
    for path in bad:
        path.write_bytes(path.read_bytes()[:-50])
    monkeypatch.setattr(integrity, "BLOCK", 5)
    assert unreadable(images) == [(path, "the file is cut off") for path in bad]


def test_what_is_no_file_has_nothing_to_be_cut_off():
    assert unreadable(ArrayImages(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), [0, 1, 0])) == []


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["caltech101_25", "imagenet_val_20x50", "stanford_dogs"])
def test_no_real_photograph_is_refused_and_few_are_decoded(test_data, folder, monkeypatch):
    files = sorted(path for path in (test_data / folder).rglob("*.*") if path.suffix in (".jpg", ".JPEG", ".png"))
    images = ImageFiles(
        test_data / folder, [str(path.relative_to(test_data / folder)) for path in files], [0] * len(files)
    )
    decoded = []
    monkeypatch.setattr(integrity, "read_image", lambda path: decoded.append(read_image(path)))
    assert len(images) > 500
    assert unreadable(images) == []
    assert len(decoded) < len(images) / 50


@pytest.mark.real_data
def test_every_real_photograph_is_refused_once_it_is_cut_off(test_data, tmp_path):
    files = sorted((test_data / "caltech101_25").rglob("*.jpg"))[:200]
    for path in files:
        place = tmp_path / path.name
        shutil.copyfile(path, place)
        os.truncate(place, place.stat().st_size * 9 // 10)
        assert quick_problem(place) == "the file is cut off"
