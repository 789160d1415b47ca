"""The one reader of images: training, evaluation, prediction and serving all see the same pixels.

EXIF orientation is applied, 16 bits keep their contrast, transparency lies on white, and a file that is cut off is an
error, not half a picture.
"""

from __future__ import annotations

import io
import stat
import struct
from pathlib import Path

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
FAST_MODES = {"JPEG": ("RGB", "L"), "MPO": ("RGB",), "PNG": ("RGB", "L")}  # torchvision decodes them alike
NEXT_STEP = "Remove it or replace it."
BOMB = Image.DecompressionBombError


def read_image(path: Path | str) -> torch.Tensor:
    """Return (3,H,W) uint8 RGB. UserError that names the file when it is no readable image."""
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would wait for ever
            raise UserError("cannot read image: not a regular file", path, NEXT_STEP)
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read image: {error.strerror}", path, NEXT_STEP) from error
    return decode(data, str(path))


def decode(data: bytes, name: str) -> torch.Tensor:
    """Return (3,H,W) uint8 RGB of a file's bytes. name: for the error message."""
    try:
        image = _open(data)
        if image.mode in FAST_MODES.get(image.format or "", ()) and not image.info.get("transparency"):
            return _decode_fast(data)
        return _decode_any(image)
    # all of these come out of Pillow for damaged headers
    except (OSError, ValueError, SyntaxError, RuntimeError, EOFError, struct.error, BOMB) as error:
        raise UserError(f"cannot read image: {_reason(error)}", name, NEXT_STEP) from error


def _open(data: bytes) -> Image.Image:
    """Read the header alone (30 us), and refuse what would not fit into memory."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width}x{height} is more than {MAX_PIXELS:,} pixels")
    return image


def _decode_fast(data: bytes) -> torch.Tensor:
    """Torchvision's decoder: five times as fast as Pillow on photographs."""
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)  # of bytes, which nobody may change, it warns
    return decode_image(encoded, mode=ImageReadMode.RGB, apply_exif_orientation=True)


def _decode_any(image: Image.Image) -> torch.Tensor:
    """Pillow, for every other mode; the first frame of an animation."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = _to_8_bit(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return pil_to_tensor(image.convert("RGB"))


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit and float pixels to 0..255: 16 bits by 257; floats in [0,1] by 255, others from min to max."""
    pixels = pil_to_tensor(image).double()[0]
    if image.mode.startswith("I"):
        low, high = 0.0, 65535.0
    else:
        low, high = min(0.0, pixels.min().item()), max(1.0, pixels.max().item())
    scaled = ((pixels - low) / (high - low) * 255).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(scaled.numpy())


def _reason(error: BaseException) -> str:
    """The cause in a few words: decoders name addresses of objects and lines of C++."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image of a known format"
    text = " ".join(str(error).split()) or type(error).__name__
    where, bracket, what = text.partition(".cpp:")  # "[decode_jpeg, /.../decode_jpeg.cpp:171, what it is"
    reason = (what.partition(" ")[2] if bracket else text).strip(" .]")[:120]
    return "the file is cut off" if "truncated" in reason.lower() else reason
