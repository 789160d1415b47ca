"""The one reader, on every kind of file that people have."""

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from ignite_vision.errors import UserError
from ignite_vision.images import MAX_PIXELS, decode, read_image

RANDOM = np.random.default_rng(0)
RGB = Image.fromarray(np.kron(RANDOM.integers(0, 255, (5, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8))  # 64x40
RAMP = np.linspace(0, 65535, 40 * 64).reshape(40, 64).astype(np.uint16)


def encoded(image, kind, **options):
    """Return an image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(image):
    return torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP", "JPEG"])
def test_every_format_gives_rgb(kind):
    exact = kind not in ("GIF", "WEBP", "JPEG")
    image = decode(encoded(RGB, kind), "x")
    assert (image.shape, image.dtype) == ((3, 40, 64), torch.uint8)
    assert (image.float() - pixels(RGB).float()).abs().mean() < (0.01 if exact else 12)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_gives_rgb(mode):
    kind = {"CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
    image = decode(encoded(RGB.convert(mode), kind), "x")
    assert image.shape == (3, 40, 64)
    if mode not in ("1", "P"):
        near = pixels(RGB.convert("L") if mode in ("L", "LA") else RGB)
        assert (image.float() - near.float()).abs().mean() < 9


def test_a_16_bit_png_keeps_its_contrast():
    image = decode(encoded(Image.fromarray(RAMP), "PNG"), "x")
    assert image.min() == 0 and image.max() == 255
    assert image.float().mean().item() == pytest.approx(127.5, abs=0.5)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_a_float_tiff_keeps_its_contrast(scale):
    image = decode(encoded(Image.fromarray((RAMP / 65535 * scale).astype(np.float32)), "TIFF"), "x")
    assert image.min() == 0 and image.max() == 255


def test_what_is_transparent_is_white():
    hidden = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (decode(encoded(hidden, "PNG"), "x") == 255).all()
    palette = RGB.convert("P")
    assert decode(encoded(palette, "PNG", transparency=palette.getpixel((0, 0))), "x")[:, 0, 0].tolist() == [255] * 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(encoded(RGB, kind, exif=exif), "x")
    from PIL import ImageOps

    expected = pixels(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(RGB, kind, exif=exif)))))
    assert image.shape == expected.shape
    assert (image.float() - expected.float()).abs().mean() < 4


def test_an_animation_is_its_first_frame():
    other = Image.new("RGB", RGB.size)
    image = decode(encoded(RGB, "GIF", save_all=True, append_images=[other]), "x")
    assert image.shape == (3, 40, 64) and image.float().mean() > 30


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
def test_a_file_that_is_cut_off_is_an_error_that_names_it(kind, share):
    data = encoded(RGB, kind)
    with pytest.raises(UserError, match=r"cannot read image: .*\(some/file\)\. Remove it or replace it\."):
        decode(data[: int(len(data) * share)], "some/file")


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", os.urandom(500), b"\xff\xd8\xff" + bytes(50)])
def test_what_is_no_image_is_an_error(data):
    with pytest.raises(UserError, match="cannot read image"):
        decode(data, "x")


def test_the_reason_names_no_line_of_anybodys_source():
    data = encoded(RGB, "JPEG")
    with pytest.raises(UserError) as failure:
        decode(data[: len(data) // 2], "x")
    assert ".cpp" not in str(failure.value)
    assert "the file is cut off" in str(failure.value)


def test_a_bomb_is_refused_from_its_header():
    bomb = encoded(Image.new("1", (13000, 13000)), "PNG")
    assert len(bomb) < 30_000
    with pytest.raises(UserError, match=f"13000x13000 is more than {MAX_PIXELS:,} pixels"):
        decode(bomb, "x")


def test_a_named_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UserError, match="not a regular file"):
        read_image(tmp_path / "pipe.jpg")


def test_a_file_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_image(tmp_path / "gone.jpg")


def test_a_name_of_any_bytes_is_read_and_printed(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9\n.png")
    path.write_bytes(encoded(RGB, "PNG"))
    assert read_image(path).shape == (3, 40, 64)
    path.write_bytes(b"")
    with pytest.raises(UserError) as failure:
        read_image(path)
    assert str(failure.value).isprintable()


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000)])
def test_odd_shapes_are_read(size):
    assert decode(encoded(Image.new("RGB", size), "PNG"), "x").shape == (3, size[1], size[0])
