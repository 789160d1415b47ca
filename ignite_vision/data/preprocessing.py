"""How an image becomes what the model sees: data, applied by one set of functions everywhere.

decode -> short side to `resize`, centre square (uint8: what a cache holds) -> [augmentation] -> crop -> normalise
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import torch
from torch.nn import functional as F

from ignite_vision.errors import UserError

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
LONGEST = 8  # times the short side: what of a longer image is outside of this is not even resized
LUMA = (299, 587, 114)  # thousandths of red, green and blue (ITU-R BT.601)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """channels: 1 or 3. resize, crop: pixels. mean, std: per channel, of values in [0,1]."""

    channels: int
    resize: int
    crop: int
    interpolation: str = "bilinear"
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        if self.channels not in (1, 3):
            raise UserError(f"preprocessing needs 1 or 3 channels, not {self.channels}")
        if not 1 <= self.crop <= self.resize:
            raise UserError(f"preprocessing cannot crop {self.crop} pixels from {self.resize}")
        if self.interpolation not in INTERPOLATIONS:
            raise UserError(
                f"no interpolation '{self.interpolation}'", next_step=f"Choose one of {', '.join(INTERPOLATIONS)}."
            )
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std) <= 0:
            raise UserError(f"preprocessing needs {self.channels} means and standard deviations above 0")

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain values; `from_dict` reads them."""
        return {**dataclasses.asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Inverse of `to_dict`."""
        return cls(**values)


def from_weights(weights: Any) -> Preprocessing:
    """Return the preprocessing that a member of torchvision's weights enumerations was trained for."""
    preset = weights.transforms()
    return Preprocessing(
        channels=len(preset.mean),
        resize=preset.resize_size[0],
        crop=preset.crop_size[0],
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def canvas(image: torch.Tensor, preprocessing: Preprocessing, size: int) -> torch.Tensor:
    """Short side to `resize`, antialiased, then the centre square. (...,C,H,W) uint8 -> (...,c,size,size) uint8.

    crop <= size <= resize, and `center_crop` of it to `crop` is the same window whatever the size: torchvision's. RGB
    becomes grey (luminance) for a model of one channel; grey stays grey here and is repeated by `normalize`. An image
    of this size is passed through.
    """
    if preprocessing.channels == 1 and image.shape[-3] == 3:
        image = luminance(image)
    if image.shape[-2:] == (size, size) and size == preprocessing.resize:
        return image
    if min(image.shape[-2:]) != preprocessing.resize:
        image = resized(_middle(image), preprocessing.resize, preprocessing.interpolation)
    # rounding twice (to this size, then to the crop) would be a pixel off for a third of all sizes
    inner = _margin(size, preprocessing.crop)
    top, left = (_margin(side, preprocessing.crop) - inner for side in image.shape[-2:])
    return image[..., top : top + size, left : left + size]


def luminance(image: torch.Tensor) -> torch.Tensor:
    """(...,3,H,W) uint8 RGB -> (...,1,H,W) uint8, in integers: each of the 256 greys stays what it is."""
    red, green, blue = image.to(torch.int32).unbind(-3)
    sums = red.mul_(LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2]).add_(500)
    return sums.div_(1000, rounding_mode="floor").to(torch.uint8).unsqueeze(-3)


def resized(image: torch.Tensor, short: int, interpolation: str) -> torch.Tensor:
    """Return the image with its short side at `short` pixels, antialiased. (...,C,H,W) uint8 -> (...,C,h,w) uint8.

    By torch's kernel for uint8, which sums integers: the same bytes on every processor. torchvision's own resize has
    other pixels, by one, where there is neither AVX2 nor ARM64.
    """
    height, width = image.shape[-2:]
    size = resized_size(height, width, short)
    batch = image.reshape(-1, *image.shape[-3:])
    if len(batch) == 1 and batch.is_contiguous(memory_format=torch.channels_last):
        # of one image torch cannot tell its layout by itself, and would copy the result into planes: 1.4 times the time
        batch = batch.as_strided(batch.shape, (batch.numel(), *batch.stride()[1:]))
    if interpolation == "nearest":
        out = F.interpolate(batch, size)
    else:
        out = F.interpolate(batch, size, mode=interpolation, antialias=True)
    return out.reshape(*image.shape[:-2], *size)


def resized_size(height: int, width: int, short: int) -> tuple[int, int]:
    """(height, width) in pixels once the short side has `short`: torchvision's rule, which rounds the long one down."""
    long = int(short * max(height, width) / min(height, width))
    return (long, short) if height > width else (short, long)


def _margin(side: int, size: int) -> int:
    """Pixels before the centre, with torchvision's rounding."""
    return round((side - size) / 2)


def window(height: int, width: int, preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """(top, left, height, width) of the square that the model sees, in pixels of an image of this size.

    Above and left of it is as much of the image that is not seen as below and right, give or take a pixel.
    """
    cut = [max(0, side - LONGEST * min(height, width)) // 2 for side in (height, width)]
    seen = [side - 2 * gone for side, gone in zip((height, width), cut, strict=True)]
    size = resized_size(seen[0], seen[1], preprocessing.resize)
    scale = [side / pixels for side, pixels in zip(seen, size, strict=True)]
    top, left = (
        gone + _margin(pixels, preprocessing.crop) * factor
        for gone, pixels, factor in zip(cut, size, scale, strict=True)
    )
    return top, left, preprocessing.crop * scale[0], preprocessing.crop * scale[1]


def _middle(image: torch.Tensor) -> torch.Tensor:
    """Cut the long side to at most 8 times the short one: a 60000x1 image would grow to gigabytes otherwise.

    Only the centre square survives anyway; an even number of pixels goes, so that the centre stays where it is.
    """
    height, width = image.shape[-2:]
    longest = LONGEST * min(height, width)
    if max(height, width) <= longest:
        return image
    cut = (max(height, width) - longest) // 2
    return image[..., cut : height - cut, :] if height > width else image[..., cut : width - cut]


def center_crop(images: torch.Tensor, size: int) -> torch.Tensor:
    """(...,H,W) -> (...,size,size) from the centre: a view."""
    top, left = (_margin(side, size) for side in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


def normalize(images: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """(x / 255 - mean) / std. (N,C,H,W) uint8 -> (N,channels,H,W) float32 in channels_last; grey is repeated."""
    scale, shift = _scale_and_shift(preprocessing, images.shape[-1], images.device)
    pixels = images.expand(-1, preprocessing.channels, -1, -1).contiguous(memory_format=torch.channels_last)
    return pixels.to(torch.float32).mul_(scale).add_(shift)


@functools.lru_cache(maxsize=16)
def _scale_and_shift(
    preprocessing: Preprocessing, width: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """(1,channels,1,width) float32 in channels_last each, kept on the device: 1 / 255 / std and -mean / std.

    A whole row, since the CPU vectorises along it: twice as fast as three numbers for each pixel.
    """
    with torch.inference_mode(False):  # kept for training as well
        mean = torch.tensor(preprocessing.mean, device=device).view(1, -1, 1, 1).expand(-1, -1, 1, width)
        std = torch.tensor(preprocessing.std, device=device).view(1, -1, 1, 1).expand(-1, -1, 1, width)
        scale, shift = 1 / (255 * std), -mean / std
        last = torch.channels_last
        return scale.contiguous(memory_format=last), shift.contiguous(memory_format=last)


@dataclasses.dataclass(frozen=True)
class Canvas:
    """How an image becomes a square of uint8: what a cache holds. size: pixels per side."""

    preprocessing: Preprocessing
    size: int

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """(C,H,W) or (N,C,H,W) uint8 -> (...,c,size,size) uint8."""
        return canvas(image, self.preprocessing, self.size)
