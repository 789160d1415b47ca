"""Numbers of one image that say whether it can teach anything: brightness, contrast, sharpness, colour, border."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch

from ignite_vision.data.preprocessing import LUMA, resized

SHORT = 256  # pixels of the short side at which images are compared: larger ones are reduced to it
SQUARE = 16  # pixels per side of the squares whose sharpness is compared
SHARPEST = 0.05  # of the squares: a photograph may have much sky
BORDER = 16  # the frame has the 16th part of the short side
BRIGHT = 0.99  # the quantile that stands for the brightest
THIN = 2  # of brightness, every second row and column is looked at; of colour every eighth


@dataclasses.dataclass(frozen=True)
class Measures:
    """All of the reduced image, in uint8's 0 to 255.

    brightest, contrast: 99 % quantile and standard deviation of the luminance. sharpness: rms Laplacian of the sharpest
    5 % of 16x16 squares, divided by the contrast; NaN where there is none. colour: median of the largest channel minus
    the smallest. border: mean red, green and blue of the frame.
    """

    brightest: float
    contrast: float
    sharpness: float
    colour: float
    border: np.ndarray


def measure(image: torch.Tensor) -> Measures:
    """image: (C,H,W) uint8, grey or RGB, at least 1x1."""
    small = resized(image, SHORT, "bilinear") if min(image.shape[1:]) > SHORT else image
    pixels = small.permute(1, 2, 0).numpy()
    grey = pixels.astype(np.float32) @ weights(len(small))
    seen = grey[::THIN, ::THIN].ravel()
    contrast = float(seen.std())
    return Measures(
        brightest=quantile(seen, BRIGHT),
        contrast=contrast,
        sharpness=edges(grey) / contrast if contrast else float("nan"),
        colour=spread(pixels[:: 4 * THIN, :: 4 * THIN]),
        border=frame(pixels),
    )


def weights(channels: int) -> np.ndarray:
    """Of red, green and blue in the luminance, (3,) float32; of grey (1,)."""
    return np.array(LUMA, dtype=np.float32) / 1000 if channels == 3 else np.ones(1, dtype=np.float32)


def quantile(values: np.ndarray, share: float) -> float:
    """The value that this share of all does not exceed. values: (n,)."""
    place = int(share * (len(values) - 1))
    return float(np.partition(values, place)[place])


def spread(pixels: np.ndarray) -> float:
    """Median over the pixels of their largest channel minus their smallest. pixels: (H,W,C) uint8."""
    channels = [pixels[..., c] for c in range(pixels.shape[2])]  # one after the other: numpy is slow along 3 values
    return float(np.median(functools.reduce(np.maximum, channels) - functools.reduce(np.minimum, channels)))


def edges(grey: np.ndarray) -> float:
    """Rms Laplacian of the sharpest 5 % of 16x16 squares, at least of one. grey: (H,W) float32. NaN if it has none."""
    height, width = ((side - 2) // SQUARE * SQUARE for side in grey.shape)
    if min(height, width) < SQUARE:
        return float("nan")
    g = grey[: height + 2, : width + 2]
    laplacian = g[:-2, 1:-1] + g[2:, 1:-1]
    laplacian += g[1:-1, :-2]
    laplacian += g[1:-1, 2:]
    laplacian -= 4 * g[1:-1, 1:-1]
    laplacian *= laplacian
    rows = laplacian.reshape(height // SQUARE, SQUARE, width).sum(1)  # whole rows first: that is three times as fast
    squares = rows.reshape(-1, SQUARE).sum(1) / SQUARE**2
    most = max(1, round(SHARPEST * squares.size))
    return float(np.sqrt(np.partition(squares, -most)[-most:].mean()))


def frame(pixels: np.ndarray) -> np.ndarray:
    """Mean red, green and blue of the border, of a 16th of the short side. (H,W,C) uint8 -> (3,); grey is repeated."""
    wide = max(1, min(pixels.shape[:2]) // BORDER)
    strips = pixels[:wide], pixels[-wide:], pixels[:, :wide], pixels[:, -wide:]
    sums = [np.add.reduce(strip.reshape(len(strip), -1), 0, np.uint32).reshape(-1, pixels.shape[2]) for strip in strips]
    total, n = np.concatenate(sums).sum(0), sum(strip.shape[0] * strip.shape[1] for strip in strips)
    return np.broadcast_to((total / n).round(), (3,))
