"""The one reader of images: training, evaluation, prediction and serving all see the same pixels.

EXIF orientation is applied, 16 bits keep their contrast, transparency lies on white, and a file that is cut off is an
error, not half a picture.
"""

from __future__ import annotations

import ctypes
import dataclasses
import io
import mmap
import os
import stat
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import ExifTags, Image, TiffImagePlugin, WebPImagePlugin

from ignite_vision.data.jpeg import decode_jpeg, plain_size
from ignite_vision.errors import UserError

T = TypeVar("T")

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # the rest of Pillow's is attack surface
_LOADED = (TiffImagePlugin, WebPImagePlugin)  # Pillow finds only those formats whose modules are imported
IMAGE_EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
)
MAX_PIXELS = 100_000_000  # 300 MB as RGB; a PNG of 20 kB can claim more
MAX_BYTES = 1 << 30  # of a file: what is larger is a film under a wrong name
LARGE = 16_000_000  # pixels: above, images are decoded one at a time and their memory goes back to the system
SCALED_FROM = 500_000  # pixels: below, Pillow's header (0.1 ms) and slower decoder cost more than scaling saves
SCALES = (8, 4)  # of libjpeg's; at a half Pillow takes as long as torchvision takes for the whole
STRIP = 1 << 20  # pixels that are converted at a time, since Pillow's modes take up to 4 bytes a pixel, twice
NEXT_STEP = "Remove it or replace it."
# What Pillow raises for damaged files, found by flipping bytes of every format and mode that it writes. A bomb is
# above twice its own limit.
DAMAGE: tuple[type[Exception], ...] = (OSError, ValueError, TypeError, SyntaxError, RuntimeError, EOFError)
DAMAGE += (LookupError, ArithmeticError, MemoryError, struct.error, Image.DecompressionBombError)
# Exif orientation -> the upright array (H,W,C) as the file stores it: a view.
AS_STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.swapaxes(0, 1),
    6: np.rot90,
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
LYING = (5, 6, 7, 8)  # orientations whose width is the stored height
_LOCKS: dict[int, threading.Lock] = {}  # by process: a forked worker may inherit one that nobody will open


Least = Callable[[int, int], tuple[int, int] | None]
"""(height, width) of a file's image, upright -> what it is decoded to at least; None: to its own size."""


def read_image(path: Path | str, least: Least | None = None) -> torch.Tensor:
    """Return (3,H,W) uint8 RGB. least: see `decode`. UserError that names the file when it is no readable image."""
    try:
        status = os.stat(path)  # noqa: PTH116  (Path's own ways take 10 us more, a hundredth of the decoding)
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
            raise UserError("cannot read image: not a regular file", path, NEXT_STEP)
        if status.st_size > MAX_BYTES:
            raise UserError(f"cannot read image: larger than {MAX_BYTES:,} bytes", path, NEXT_STEP)
        data = bytearray(status.st_size)
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            del data[file.readinto(data) :]
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"cannot read image: {getattr(error, 'strerror', error)}", path, NEXT_STEP) from error
    return decode(data, str(path), least)


def decode(data: bytes | bytearray, name: str, least: Least | None = None) -> torch.Tensor:
    """Return (3,H,W) uint8 RGB of a file's bytes. name: for the error message.

    least: a JPEG of half a megapixel or more is decoded at a quarter or an eighth, down to this size: libjpeg leaves
    out the frequencies that nobody would see. 12 megapixels for 256 pixels take 58 ms so, and 112 ms whole.
    """
    try:
        plain = plain_size(data)
        if 0 < plain <= MAX_PIXELS and (least is None or plain < SCALED_FROM):
            return _in_turn(plain, decode_jpeg, data)
        image = _open(data)
        pixels = image.width * image.height
        scale = 1 if least is None or pixels < SCALED_FROM else _scale(image, least)
        if scale == 1 and 0 < plain <= MAX_PIXELS:
            image.close()
            return _in_turn(plain, decode_jpeg, data)
        if scale > 1:
            image.draft(image.mode, (image.width // scale, image.height // scale))
        return _in_turn(pixels, _decode_any, image)
    except DAMAGE as error:
        raise UserError(f"cannot read image: {_reason(error)}", name, NEXT_STEP) from error


def _scale(image: Image.Image, least: Least) -> int:
    """What each side may be divided by so that no less is left: 1, 4 or 8; 1 for what is no JPEG."""
    height, width = _upright_size(image)
    wanted = least(height, width)
    if wanted is None or image.format not in ("JPEG", "MPO"):
        return 1
    fits = (scale for scale in SCALES if height >= scale * wanted[0] and width >= scale * wanted[1])
    return next(fits, 1)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    return (image.width, image.height) if _orientation(image) in LYING else (image.height, image.width)


def upright_size(data: bytes | bytearray, name: str) -> tuple[int, int]:
    """(height, width) of a file's whole image, from its header. UserError as `decode` has it."""
    try:
        with _open(data) as image:
            return _upright_size(image)
    except DAMAGE as error:
        raise UserError(f"cannot read image: {_reason(error)}", name, NEXT_STEP) from error


def pixels_of(data: bytes | bytearray, name: str) -> int:
    """Pixels that a file's header claims: 30 us, however large. UserError as `decode` has it, names the file.

    Where these are more than can be read it is one more than that.
    """
    try:
        if 0 < (pixels := plain_size(data)) <= MAX_PIXELS:
            return pixels
        image = _open(data)
        return image.width * image.height
    except (TooManyPixels, Image.DecompressionBombError):
        return MAX_PIXELS + 1
    except DAMAGE as error:
        raise UserError(f"cannot read image: {_reason(error)}", name, NEXT_STEP) from error


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says of itself. format: one of FORMATS. mode: Pillow's name of channels and bits."""

    format: str
    width: int
    height: int
    mode: str


def inspect(path: Path | str) -> Header:
    """Read a file's header, whatever its name, size or content. UserError if it is no image, or not there."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            raise UserError("cannot read image: not a regular file", path, NEXT_STEP)
        with Image.open(path, formats=FORMATS) as image:
            return Header(image.format or "", image.width, image.height, image.mode)
    except DAMAGE as error:
        reason = getattr(error, "strerror", None) or _reason(error)
        raise UserError(f"cannot read image: {reason}", path, NEXT_STEP) from error


def _in_turn(pixels: int, decode: Callable[[T], torch.Tensor], source: T) -> torch.Tensor:
    """Decode; a large image alone, whatever the number of threads, and leave nothing of it on the heap."""
    if pixels <= LARGE:
        return decode(source)
    with _LOCKS.setdefault(os.getpid(), threading.Lock()):
        image = _outside_the_heap(decode(source))
        _trim_heap()
        return image


def _outside_the_heap(image: torch.Tensor) -> torch.Tensor:
    """Copy to where the system has it back as soon as nobody uses it: the command keeps its heap (`system.process`)."""
    if sys.platform == "win32":
        return image
    room = mmap.mmap(-1, image.numel(), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    height, width = image.shape[1:]
    copy = torch.frombuffer(room, dtype=torch.uint8).view(height, width, 3).permute(2, 0, 1)
    return copy.copy_(image)


def _trim_heap() -> None:
    """Return free memory to the system, where glibc can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _open(data: bytes | bytearray) -> Image.Image:
    """Read the header alone (30 us), and refuse what would not fit into memory."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    _refuse_size(image)
    return image


class TooManyPixels(ValueError):
    """An image that is larger than any that is read."""


def _refuse_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise TooManyPixels(f"{width}x{height} is more than {MAX_PIXELS:,} pixels")
    if not width * height:
        raise ValueError("it has no pixels")


def _decode_any(image: Image.Image) -> torch.Tensor:
    """Pillow, for everything but plain JPEGs: the first frame of an animation. Closes the image.

    torchvision's PNG decoder is no faster, and one damaged byte ends the process (segmentation fault, 0.29.2).
    """
    try:
        return _upright(image)
    finally:
        image.close()  # its memory, not just the file: a large one is copied next


def from_pillow(image: Image.Image) -> torch.Tensor:
    """Return (3,H,W) uint8 RGB of a Pillow image, as `read_image` makes it of the file. UserError if it is damaged."""
    try:
        _refuse_size(image)
        return _upright(image)
    except DAMAGE as error:
        raise UserError(f"cannot read image: {_reason(error)}", next_step=NEXT_STEP) from error


def _upright(image: Image.Image) -> torch.Tensor:
    image.load()
    orientation, (width, height) = _orientation(image), image.size
    upright = np.empty((width, height, 3) if orientation in LYING else (height, width, 3), dtype=np.uint8)
    stored = AS_STORED.get(orientation, np.asarray)(upright)
    limits = _limits(image) if image.mode.startswith(("I", "F")) else (0.0, 255.0)
    for top, strip in _strips(image):
        stored[top : top + strip.height] = np.asarray(_to_rgb(strip, *limits))
    return torch.from_numpy(upright).permute(2, 0, 1)


def _orientation(image: Image.Image) -> int:
    """Exif orientation, from Exif or XMP. 1, upright, if these are damaged: the pixels are not."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except DAMAGE:
        return 1


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """(first row, strip over the whole width), from top to bottom."""
    width, height = image.size
    rows = max(1, STRIP // width)
    if height <= rows:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _to_rgb(image: Image.Image, low: float, high: float) -> Image.Image:
    """8 bits and three channels: integers and floats scaled from low to high, what is transparent on white."""
    if image.mode.startswith(("I", "F")):
        scaled = (_numbers(image) - low) * (255 / max(high - low, 1e-6))
        image = Image.fromarray(scaled.round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _limits(image: Image.Image) -> tuple[float, float]:
    """What becomes 0 and 255: integers 0 and 65535, floats 0 and 1; if any value is outside, the least and largest."""
    ends = [(values.min(), values.max()) for _, strip in _strips(image) for values in [_numbers(strip)]]
    least, largest = float(min(low for low, _ in ends)), float(max(high for _, high in ends))
    low, high = 0.0, 65535.0 if image.mode.startswith("I") else 1.0
    return (least, largest) if least < low or largest > high else (low, high)


def _numbers(image: Image.Image) -> np.ndarray:
    """(H,W) float32; NaN and infinity count as 0."""
    return np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0)


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
