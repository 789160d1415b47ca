"""The one reader of images: training, evaluation, prediction and serving all see the same pixels.

EXIF orientation is applied, 16 bits keep their contrast, transparency lies on white, and a file that is cut off is an
error, not half a picture.
"""

from __future__ import annotations

import io
import os
import stat
import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, TiffImagePlugin, WebPImagePlugin
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2.functional import pil_to_tensor

from ignite_vision.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # the rest of Pillow's is attack surface
_LOADED = (TiffImagePlugin, WebPImagePlugin)  # Pillow finds only those formats whose modules are imported
IMAGE_EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
)
MAX_PIXELS = 100_000_000  # 300 MB as RGB; a PNG of 20 kB can claim more
MAX_BYTES = 1 << 30  # of a file: what is larger is a film under a wrong name
JPEG_BEGIN = b"\xff\xd8"
JPEG_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive: what the decoder takes
JPEG_SEGMENTS = frozenset((*JPEG_FRAMES, 0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE))  # tables, applications, comments
NEXT_STEP = "Remove it or replace it."
# What Pillow raises for damaged files, found by flipping bytes of every format and mode that it writes. A bomb is
# above twice its own limit.
DAMAGE: tuple[type[Exception], ...] = (OSError, ValueError, TypeError, SyntaxError, RuntimeError, EOFError)
DAMAGE += (LookupError, ArithmeticError, MemoryError, struct.error, Image.DecompressionBombError)


def read_image(path: Path | str) -> torch.Tensor:
    """Return (3,H,W) uint8 RGB. UserError that names the file when it is no readable image."""
    try:
        status = os.stat(path)  # noqa: PTH116  (Path's own ways take 10 us more, a hundredth of the decoding)
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
            raise UserError("cannot read image: not a regular file", path, NEXT_STEP)
        if status.st_size > MAX_BYTES:
            raise UserError(f"cannot read image: larger than {MAX_BYTES:,} bytes", path, NEXT_STEP)
        data = bytearray(status.st_size)
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            del data[file.readinto(data) :]
    except OSError as error:
        raise UserError(f"cannot read image: {error.strerror}", path, NEXT_STEP) from error
    return decode(data, str(path))


def decode(data: bytes | bytearray, name: str) -> torch.Tensor:
    """Return (3,H,W) uint8 RGB of a file's bytes. name: for the error message."""
    try:
        if _is_plain_jpeg(data):
            return _decode_jpeg(data)
        image = _open(data)
        if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L"):
            return _decode_jpeg(data)
        return _decode_any(image)
    except DAMAGE as error:
        raise UserError(f"cannot read image: {_reason(error)}", name, NEXT_STEP) from error


def _is_plain_jpeg(data: bytes | bytearray) -> bool:
    """Whether the header is that of a JPEG, grey or RGB, of a size that fits. False: Pillow is to look at it.

    Follows the chain of segments to the frame's (ITU T.81, B.2), where Pillow takes ten times as long. Whatever a
    decoder might see otherwise, such as bytes between segments, is not plain.
    """
    place = 2 if data.startswith(JPEG_BEGIN) else len(data)
    while len(data) >= place + 10:
        begin, marker, length, precision, height, width, components = struct.unpack_from(">BBHBHHB", data, place)
        if begin != 0xFF or marker not in JPEG_SEGMENTS or length < 2:
            return False
        if marker in JPEG_FRAMES:
            return precision == 8 and components in (1, 3) and 0 < width * height <= MAX_PIXELS
        place += 2 + length
    return False


def _open(data: bytes | bytearray) -> Image.Image:
    """Read the header alone (30 us), and refuse what would not fit into memory."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width}x{height} is more than {MAX_PIXELS:,} pixels")
    return image


def _decode_jpeg(data: bytes | bytearray) -> torch.Tensor:
    """Torchvision's decoder: bit for bit Pillow's pixels, in half the time.

    Not for PNG: there it is no faster, and one damaged byte ends the process (segmentation fault, 0.29.2).
    """
    buffer = data if isinstance(data, bytearray) else bytearray(data)  # of bytes, which nobody may change, it warns
    encoded = torch.frombuffer(buffer, dtype=torch.uint8)
    return decode_image(encoded, mode=ImageReadMode.RGB, apply_exif_orientation=True)


def _decode_any(image: Image.Image) -> torch.Tensor:
    """Pillow, for everything else; the first frame of an animation."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = _to_8_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return pil_to_tensor(image.convert("RGB"))


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scale integers from 0..65535 and floats from 0..1; if any value is outside, from the least to the largest.

    NaN and infinity count as 0.
    """
    pixels = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0)
    low, high = 0.0, 65535.0 if image.mode.startswith("I") else 1.0
    if pixels.min() < low or pixels.max() > high:
        low, high = float(pixels.min()), float(pixels.max())
    return Image.fromarray(((pixels - low) * (255 / max(high - low, 1e-6))).round().astype(np.uint8))


def _reason(error: BaseException) -> str:
    """The cause in a few words: decoders name addresses of objects and lines of C++."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS:,} pixels"
    text = " ".join(str(error).split()) or type(error).__name__
    where, bracket, what = text.partition(".cpp:")  # "[decode_jpeg, /.../decode_jpeg.cpp:171, what it is"
    reason = (what.partition(" ")[2] if bracket else text).strip(" .]")[:120]
    return "the file is cut off" if "truncated" in reason.lower() else reason
