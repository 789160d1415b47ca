"""The one reader, on every kind of file that people have."""

import io
import os
import random
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from ignite_vision.data import images
from ignite_vision.data.images import (
    MAX_BYTES,
    MAX_PIXELS,
    Header,
    decode,
    inspect,
    pixels_of,
    read_image,
    upright_size,
)
from ignite_vision.errors import UserError

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


def png(pixels, depth, colour, *, size=None, transparent=b""):
    """Return a PNG of a kind that Pillow does not write. colour: 0 grey, 2 RGB. transparent: its tRNS chunk."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = size or pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    between = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + header + between + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_has_pillows_pixels(mode):
    data = encoded(RGB.convert(mode), "JPEG")
    assert decode(data, "x").equal(pixels(Image.open(io.BytesIO(data))))


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


def test_a_16_bit_png_in_colour_is_8_bits_too():
    image = decode(png(np.stack([RAMP, RAMP[::-1], RAMP], axis=-1), 16, 2), "x")
    assert image.dtype == torch.uint8
    assert (image[0].float() - torch.from_numpy(RAMP / 257)).abs().max() <= 1


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_a_16_bit_tiff_of_either_byte_order_keeps_its_contrast(order):
    image = decode(encoded(Image.fromarray(RAMP.astype(order)), "TIFF"), "x")
    assert (image[0].float() - torch.from_numpy(RAMP / 257)).abs().max() <= 0.5


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 1000), (280, 300), (-1, 1)])
def test_a_float_tiff_keeps_its_contrast(low, high):
    image = decode(encoded(Image.fromarray((RAMP / 65535 * (high - low) + low).astype(np.float32)), "TIFF"), "x")
    assert image.min() == 0 and image.max() == 255


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_no_number_is_black_and_harms_no_other(value):
    ramp = (RAMP / 65535).astype(np.float32)
    ramp[20, 30] = value
    image = decode(encoded(Image.fromarray(ramp), "TIFF"), "x")
    assert image[0, 20, 30] == 0 and image[0, 20, 31] > 100 and image.max() == 255


def test_a_constant_float_tiff_is_one_colour():
    assert decode(encoded(Image.new("F", (4, 4), 7.0), "TIFF"), "x").unique().numel() == 1


def test_what_is_transparent_is_white():
    hidden = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (decode(encoded(hidden, "PNG"), "x") == 255).all()
    assert (decode(png(np.zeros((4, 4)), 8, 0, transparent=bytes(2)), "x") == 255).all()
    palette = RGB.convert("P")
    assert decode(encoded(palette, "PNG", transparency=palette.getpixel((0, 0))), "x")[:, 0, 0].tolist() == [255] * 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(encoded(RGB, kind, exif=exif), "x")
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


# of files that are still read in spite of the damage Pillow warns
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_a_damaged_file_is_read_or_refused_and_ends_no_process(kind):
    """Torchvision's PNG decoder dies of a segmentation fault here, hence Pillow's."""
    data, draw = encoded(RGB, kind), random.Random(0)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[draw.randrange(draw.choice([60, len(data)]))] ^= 1 << draw.randrange(8)
        try:
            image = decode(bytes(damaged), "x")
        except UserError:
            continue
        assert (image.dtype, image.shape[0]) == (torch.uint8, 3)


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


def test_a_bomb_beyond_pillows_own_limit_is_refused_as_well():
    with pytest.raises(UserError, match=f"more than {MAX_PIXELS:,} pixels"):
        decode(png(np.zeros((1, 1, 3)), 8, 2, size=(60000, 60000)), "x")


@pytest.mark.parametrize("before", [b"", b"\xff", b"\x00\x11"], ids=["plain", "fill bytes", "stray bytes"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"x" * 999}], ids=str)
def test_a_jpeg_is_the_same_whatever_lies_between_its_segments_and_a_bomb_is_refused(before, options):
    data = encoded(RGB, "JPEG", **options)
    frame = next(place for place in range(len(data)) if data[place : place + 2] in (b"\xff\xc0", b"\xff\xc2"))
    assert decode(data[:frame] + before + data[frame:], "x").equal(decode(data, "x"))
    bomb = data[: frame + 5] + struct.pack(">HH", 60000, 60000) + data[frame + 9 :]
    with pytest.raises(UserError, match=f"more than {MAX_PIXELS:,} pixels"):
        decode(bomb[:frame] + before + bomb[frame:], "x")


def test_a_film_under_a_wrong_name_is_not_loaded(tmp_path):
    with (tmp_path / "film.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no room
    with pytest.raises(UserError, match="larger than"):
        read_image(tmp_path / "film.jpg")


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


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_exif_leaves_the_pixels_as_they_are(kind):
    exact = encoded(RGB, kind, lossless=True)
    damaged = encoded(RGB, kind, lossless=True, exif=b"Exif\0\0nothing of the kind")
    assert decode(damaged, "x").equal(decode(exact, "x"))


def test_orientation_in_the_xmp_of_a_png_is_applied():
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<a tiff:Orientation="6"/>')
    assert decode(encoded(RGB, "PNG", pnginfo=info), "x").equal(pixels(RGB.transpose(Image.Transpose.ROTATE_270)))


WAYS = {
    "1": lambda: encoded(RGB.convert("1"), "PNG"),
    "LA": lambda: encoded(RGB.convert("LA"), "PNG"),
    "P": lambda: encoded(RGB.convert("P"), "PNG", transparency=3),
    "RGBA": lambda: encoded(RGB.convert("RGBA"), "PNG"),
    "CMYK": lambda: encoded(RGB.convert("CMYK"), "TIFF"),
    "I;16": lambda: encoded(Image.fromarray(RAMP), "PNG"),
    "I;16B": lambda: encoded(Image.fromarray(RAMP.astype(">u2")), "TIFF"),
    "F": lambda: encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
    "JPEG": lambda: encoded(RGB, "JPEG"),
    "turned": lambda: encoded(RGB, "PNG", exif=turned(6)),
}


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("way", WAYS)
def test_a_large_image_has_the_pixels_that_it_would_have_if_it_were_small(way, monkeypatch):
    data = WAYS[way]()
    small = decode(data, "x")
    monkeypatch.setattr(images, "STRIP", 300)  # pixels: strips of 4 rows
    monkeypatch.setattr(images, "LARGE", 100)
    large = decode(data, "x")
    assert large.equal(small) and large.stride() == small.stride()


MEMORY = """
import io, threading
from pathlib import Path
from PIL import Image
from ignite_vision.data.images import decode
from ignite_vision.system.process import tune_processor

def png(side):
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()

def memory(name):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith(name)) / 1024

tune_processor()
large = png(7000)
decode(png(10), "x")
Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark so far
before = memory("VmRSS")
threads = [threading.Thread(target=decode, args=(large, "x")) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(memory("VmHWM") - before, memory("VmRSS") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in /proc")
def test_two_threads_hold_one_large_image_at_a_time_and_keep_nothing_of_it():
    done = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True)
    most, kept = map(float, done.stdout.split())
    byte = 49e6 / 2**20  # MiB that one byte for each pixel takes
    assert most < 11 * byte  # 1 as stored, 3 as RGB, then 3 for their copy, and the 3 of another that is done
    assert kept < 2 * 64  # glibc does not trim the top, 64 MiB at the most, of a thread's heap


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000)])
def test_odd_shapes_are_read(size):
    assert decode(encoded(Image.new("RGB", size), "PNG"), "x").shape == (3, size[1], size[0])


@pytest.mark.real_data
def test_photographs_have_pillows_pixels(test_data):
    files = sorted((test_data / "caltech256").rglob("*.jpg"))[::25]
    assert files
    for path in files:
        assert read_image(path).equal(pixels(ImageOps.exif_transpose(Image.open(path))))


def test_a_header_is_read_whatever_the_name_says(tmp_path):
    Image.new("I;16", (30, 20)).save(tmp_path / "deep.jpg", "PNG")
    assert inspect(tmp_path / "deep.jpg") == Header("PNG", 30, 20, "I;16")


def test_a_header_that_is_none_is_one_error_that_names_the_file(tmp_path):
    (tmp_path / "page.jpg").write_bytes(b"<html>")
    for name, why in (("page.jpg", "not an image of a known format"), ("gone.jpg", "No such file"), (".", "not a reg")):
        with pytest.raises(UserError, match=why) as caught:
            inspect(tmp_path / name)
        assert caught.value.path == tmp_path / name


class TestScaledDecoding:
    """A large JPEG is decoded at a quarter or an eighth, down to what is wanted and no further."""

    def saved(self, tmp_path, size=(1600, 1200), name="a.jpg", **options):
        image = Image.linear_gradient("L").resize(size).convert(options.pop("mode", "RGB"))
        path = tmp_path / name
        image.save(path, **options)
        return path

    @pytest.mark.parametrize(
        ("least", "shape"),
        [
            ((150, 200), (150, 200)),
            ((151, 200), (300, 400)),
            ((300, 401), (1200, 1600)),
            ((301, 1), (1200, 1600)),
            ((1, 1), (150, 200)),
            (None, (1200, 1600)),
        ],
    )
    def test_to_the_least_of_libjpegs_sizes_that_is_enough(self, tmp_path, least, shape):
        path = self.saved(tmp_path)
        assert read_image(path, lambda height, width: least).shape == (3, *shape)

    @pytest.mark.parametrize("size", [(1601, 1203), (1607, 1193), (997, 1009), (3000, 170)])
    def test_sides_that_do_not_divide_are_rounded_up(self, tmp_path, size):
        path = self.saved(tmp_path, size)
        seen = []

        def least(height, width):
            seen.append((height, width))
            return height // 8, width // 8

        shape = read_image(path, least).shape
        assert seen == [size[::-1]]
        assert shape == (3, -(-size[1] // 8), -(-size[0] // 8))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_it_is_upright_and_asks_for_the_upright_size(self, tmp_path, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = self.saved(tmp_path, exif=exif)
        whole = read_image(path)
        quarter = read_image(path, lambda height, width: (height // 4, width // 4))
        assert quarter.shape == (3, whole.shape[1] // 4, whole.shape[2] // 4)
        assert (quarter.float() - whole[:, 2::4, 2::4].float()).abs().mean() < 3
        assert upright_size(path.read_bytes(), "a") == tuple(whole.shape[1:])

    @pytest.mark.parametrize(
        "options",
        [
            {"progressive": True},
            {"mode": "L"},
            {"mode": "CMYK"},
            {"subsampling": 0},
            {"subsampling": 2},
            {"quality": 30},
        ],
        ids=str,
    )
    def test_any_jpeg_is_so(self, tmp_path, options):
        path = self.saved(tmp_path, **options)
        made = read_image(path, lambda height, width: (height // 4, width // 4))
        assert made.shape == (3, 300, 400)
        assert (made.float() - read_image(path)[:, 2::4, 2::4].float()).abs().mean() < 3

    def test_what_is_small_or_no_jpeg_comes_whole_with_the_same_bits(self, tmp_path):
        for path in (
            self.saved(tmp_path, (800, 600)),
            self.saved(tmp_path, name="a.png"),
            self.saved(tmp_path, name="a.webp"),
        ):
            assert read_image(path, lambda height, width: (1, 1)).equal(read_image(path))

    def test_one_that_is_cut_off_is_still_an_error(self, tmp_path):
        path = self.saved(tmp_path)
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(UserError, match=r"the file is cut off \(.*a.jpg\)"):
            read_image(path, lambda height, width: (100, 100))


def test_a_header_that_claims_more_pixels_than_are_read_is_counted_not_refused():
    file = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(file, "PNG")
    assert pixels_of(file.getvalue(), "x") > MAX_PIXELS
