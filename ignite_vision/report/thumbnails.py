"""Pictures inside the page: small images as data URIs, heat over them, many of them on one sheet."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

SIDE = 176  # pixels of a thumbnail's long side
TINY = 64  # up to this long side an image is shown pixel by pixel, enlarged
QUALITY, SHEET_QUALITY = 62, 50  # of WebP; 62 at 176 pixels: about 2.8 kB
HEAT_SIDE = 28  # pixels of a heat map, which the browser smooths
SPOT, COLUMNS = 40, 25  # of a sheet: pixels of each picture, and pictures in a row


def thumbnail(image: torch.Tensor, side: int = SIDE) -> Image.Image:
    """(C,H,W) uint8 of 1 or 3 channels -> RGB, its long side at most `side` pixels, at its own aspect."""
    pixels = image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    return picture


def webp(picture: Image.Image, quality: int = QUALITY) -> str:
    """A picture as a data URI; a tiny one without loss."""
    data = io.BytesIO()
    picture.save(data, "WEBP", quality=quality, method=4, lossless=max(picture.size) <= TINY)
    return _uri(data, "webp")


def png(pixels: np.ndarray) -> str:
    """(H,W,4) uint8 as a data URI."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", optimize=True)
    return _uri(data, "png")


def _uri(data: io.BytesIO, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"


def heat_picture(heat: torch.Tensor) -> str:
    """(h,w) float32 in [0,1] as a data URI: colour and opacity rise together, so it lies over any picture."""
    wide = Image.fromarray(heat.float().numpy()).resize((HEAT_SIDE, HEAT_SIDE), Image.Resampling.BICUBIC)
    values = np.asarray(wide).clip(0, 1)
    pixels = np.empty((HEAT_SIDE, HEAT_SIDE, 4), np.uint8)
    pixels[..., 0], pixels[..., 2] = 255, 40
    pixels[..., 1] = 220 * (1.6 * values - 0.6).clip(0, 1)
    pixels[..., 3] = 190 * values**1.3
    return png(pixels)


def sheet(images: Sequence[torch.Tensor]) -> str:
    """The middle square of each (C,H,W) uint8 image, 25 in a row, as one data URI."""
    rows = -(-len(images) // COLUMNS)
    whole = Image.new("RGB", (COLUMNS * SPOT, rows * SPOT))
    for k, image in enumerate(images):
        height, width = image.shape[1:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = image[:, top : top + side, left : left + side]
        resample = Image.Resampling.NEAREST if side <= SPOT else Image.Resampling.BILINEAR
        spot = thumbnail(square, 2 * SPOT).resize((SPOT, SPOT), resample)
        whole.paste(spot, (k % COLUMNS * SPOT, k // COLUMNS * SPOT))
    return webp(whole, SHEET_QUALITY)
