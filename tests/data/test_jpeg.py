"""Every decoder sees the same picture, turned as Pillow turns it; a header in doubt goes to Pillow."""

import io
import random
import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ignite_vision.data.images import decode
from ignite_vision.data.jpeg import decode_jpeg, decoders, plain_size
from ignite_vision.errors import UserError

RGB = Image.fromarray(np.kron(np.random.default_rng(0).integers(0, 255, (5, 8, 3)), np.ones((8, 8, 1))).astype("uint8"))


def jpeg(*notes, image=RGB, **options):
    """Return a JPEG with these APP1 segments, right after its begin."""
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    data = file.getvalue()
    return data[:2] + b"".join(segment(note) for note in notes) + data[2:]


def segment(note):
    return b"\xff\xe1" + struct.pack(">H", len(note) + 2) + note


def exif(value, kind=3, order="<", *, count=1, copies=1):
    """Exif with an orientation as SHORT (kind 3) or LONG (4), in either byte order."""
    field = struct.pack(f"{order}HHI{'HH' if kind == 3 else 'I'}", 0x0112, kind, count, value, *([0] * (kind == 3)))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, copies)
    return b"Exif\0\0" + head + field * copies + bytes(4)


def xmp(text):
    return b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + text + b"</x:xmpmeta>"


SILENT = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 0) + bytes(4)
ATTRIBUTE, ELEMENT = xmp(b'<a tiff:Orientation="6"/>'), xmp(b"<tiff:Orientation>8</tiff:Orientation>")


def pillow(data):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_plain_orientation_is_plain_and_pillows(orientation, order):
    data = jpeg(exif(orientation, order=order))
    assert plain_size(data) == 64 * 40
    assert decode(data, "x").equal(pillow(data))


@pytest.mark.parametrize(
    ("notes", "turned"),
    [
        ([xmp(b""), exif(6)], True),
        ([ATTRIBUTE], True),
        ([ELEMENT], True),
        ([SILENT, ATTRIBUTE], True),
        ([ATTRIBUTE, exif(3)], False),
        ([exif(6, 4, ">")], True),
        ([exif(6, 4, "<")], True),
        ([exif(6, copies=2)], True),
        ([exif(1), exif(6)], False),
        ([SILENT, SILENT], False),
    ],
    ids=["XMP first", "XMP", "XMP element", "silent Exif", "both", "big LONG", "LONG", "twice", "two", "two silent"],
)
def test_an_orientation_elsewhere_is_pillows(notes, turned):
    data = jpeg(*notes)
    image = decode(data, "x")
    assert image.equal(pillow(data)) and (image.shape == (3, 64, 40)) is turned


@pytest.mark.parametrize(
    "notes",
    [[], [xmp(b"nothing")], [exif(1), ATTRIBUTE], [xmp(b"first"), exif(1)], [SILENT], [SILENT, xmp(b"nothing")]],
    ids=["none", "XMP", "Exif and XMP", "XMP first", "silent", "silent and XMP"],
)
def test_photographs_as_cameras_and_editors_write_them_are_plain(notes):
    data = jpeg(*notes)
    assert plain_size(data) == 64 * 40 and decode(data, "x").equal(pillow(data))


def test_a_note_between_frame_and_scan_counts():
    data = jpeg()
    scan = data.index(b"\xff\xda")
    data = data[:scan] + segment(exif(6)) + data[scan:]
    assert decode(data, "x").equal(pillow(data)) and decode(data, "x").shape == (3, 64, 40)


@pytest.mark.parametrize(
    "note",
    [b"Exif\0\0", b"Exif\0\0nothing of the kind", exif(6)[:20], b"Exif\0\0II*\0" + struct.pack("<I", 9999)],
    ids=["empty", "no TIFF", "cut off", "an offset that leads out"],
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_exif_leaves_the_pixels_as_they_are(note):
    assert decode(jpeg(note), "x").equal(decode(jpeg(), "x"))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"comment": b"x" * 99}], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_grey_and_rgb_are_plain(mode, options):
    assert plain_size(jpeg(image=RGB.convert(mode), **options)) == 64 * 40


def test_other_modes_and_other_formats_are_not_plain():
    assert plain_size(jpeg(image=RGB.convert("CMYK"))) == 0
    assert plain_size(b"") == plain_size(b"\xff\xd8") == plain_size(b"GIF89a" + bytes(50)) == 0


NAMES = [name for name, _ in decoders()]


def test_one_decoder_is_always_there_and_pillow_is_the_last():
    assert NAMES[-1] == "pillow" and len(NAMES) >= 2
    data = jpeg()
    assert decode_jpeg(data).equal(pillow(data))


def outcomes(data):
    """The pixels by each decoder; None where it refuses the data."""
    for _, decoder in decoders():
        try:
            yield decoder(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        except (OSError, RuntimeError, ValueError, SyntaxError):
            yield None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 5}], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_all_decoders_give_the_same_pixels(mode, options, orientation):
    first, *others = outcomes(jpeg(exif(orientation), image=RGB.convert(mode), **options))
    assert all(other.equal(first) for other in others)


@pytest.mark.filterwarnings("ignore")
def test_of_a_damaged_file_all_decoders_that_read_it_give_the_same_pixels():
    data, draw, read = jpeg(exif(6)), random.Random(0), 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        if plain_size(damaged):
            images = [image for image in outcomes(damaged) if image is not None]
            read += len(images)
            assert all(image.equal(images[0]) for image in images)
    assert read > 300


@pytest.mark.real_data
def test_all_decoders_give_the_same_photographs(test_data):
    for path in sorted((test_data / "caltech256").rglob("*.jpg"))[::25]:
        data = path.read_bytes()
        assert plain_size(data)
        first, *others = outcomes(data)
        assert all(other.equal(first) for other in others)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_jpeg_that_is_cut_off_is_refused(share):
    data = jpeg(exif(6))
    with pytest.raises(UserError, match="cannot read image"):
        decode(data[: int(len(data) * share)], "x")
