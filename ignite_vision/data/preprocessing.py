"""How an image becomes what the model sees: data, applied by one set of functions everywhere.

decode -> resize, centre (uint8: what a cache holds) -> [augmentation] -> crop -> normalise

How an image of another shape becomes one of the wanted: its short side is resized and the centre cut out (crop), or all
of it is in, between bars of one grey (pad), or stretched (squash).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import torch
from torch.nn import functional as F

from ignite_vision.errors import UserError

Size = tuple[int, int]
"""Height and width in pixels."""

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
FITS = ("crop", "pad", "squash")
WHOLE, SCALED = 1, 2  # readers: all pixels of a file, or those of large JPEGs at a quarter or an eighth
SPARE = 2  # times the size that is wanted: what a file is decoded to at least. 3 takes a fifth longer, to differ half
LONGEST = 8  # times the short side: what of a longer image is outside of this is not even resized
LUMA = (299, 587, 114)  # thousandths of red, green and blue (ITU-R BT.601)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """channels: 1 or 3. resize, crop: pixels. mean, std: per channel, of values in [0,1].

    fit: how an image gets the shape: crop, pad or squash; the latter two cut nothing, so resize is crop.
    shape: (height, width) that the model sees where it is no square: crop is the shorter, resize that before the cut.
    bars: what is filled up is filled with, 0 to 255; None: the mean. For a model that normalises inside.
    reader: the rule by which files become pixels, WHOLE or SCALED; a run keeps that with which it began.
    """

    channels: int
    resize: int
    crop: int
    interpolation: str = "bilinear"
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: str = "crop"
    shape: Size | None = None
    bars: int | None = None
    reader: int = WHOLE

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        if self.channels not in (1, 3):
            raise UserError(f"preprocessing needs 1 or 3 channels, not {self.channels}")
        if not 1 <= self.crop <= self.resize:
            raise UserError(f"preprocessing cannot crop {self.crop} pixels from {self.resize}")
        for name, value, choices in (("interpolation", self.interpolation, INTERPOLATIONS), ("fit", self.fit, FITS)):
            if value not in choices:
                raise UserError(f"no {name} '{value}'", next_step=f"Choose one of {', '.join(choices)}.")
        if self.bars is not None and not 0 <= self.bars <= 255:
            raise UserError(f"preprocessing cannot fill bars with {self.bars}")
        if self.reader not in (WHOLE, SCALED):
            raise UserError(f"preprocessing by reader {self.reader}, which this version does not know")
        self._check_shape()
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std) <= 0:
            raise UserError(f"preprocessing needs {self.channels} means and standard deviations above 0")

    def _check_shape(self) -> None:
        """Make `shape` None where it is the square. UserError where fit and sizes contradict each other."""
        if self.shape is not None:
            height, width = map(int, self.shape)
            if min(height, width) != self.crop:
                raise UserError(f"preprocessing has crop={self.crop}, which is no side of shape={height}x{width}")
            object.__setattr__(self, "shape", None if height == width else (height, width))
        if self.fit != "crop" and self.resize != self.crop:
            what = f"preprocessing cuts nothing with fit='{self.fit}', and resize={self.resize} is not crop={self.crop}"
            raise UserError(what, next_step="Give both the same number.")

    @property
    def size(self) -> Size:
        """(height, width) that the model sees."""
        return self.shape or (self.crop, self.crop)

    @property
    def box(self) -> Size:
        """(height, width) that an image covers (crop), lies within (pad) or gets (squash) before the cut."""
        height, width = (round(side * self.resize / self.crop) for side in self.size)
        return height, width

    @property
    def grey(self) -> int:
        """What bars are filled with, 0 to 255: the mean, near 0 once it is normalised, unless `bars` says otherwise."""
        return self.bars if self.bars is not None else min(255, max(0, round(255 * sum(self.mean) / self.channels)))

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain values, without what all had before there was a choice; `from_dict` reads it."""
        values = {**dataclasses.asdict(self), "mean": list(self.mean), "std": list(self.std)}
        values["shape"] = None if self.shape is None else list(self.shape)
        before = {"fit": "crop", "shape": None, "bars": None, "reader": WHOLE}
        return {name: value for name, value in values.items() if name not in before or value != before[name]}

    def least(self, height: int, width: int) -> Size | None:
        """(height, width) that a file of this size is decoded to at least; None: to its own."""
        if self.reader == WHOLE:
            return None
        high, wide = fitted(height, width, self)
        return SPARE * high, SPARE * wide

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


def canvas(image: torch.Tensor, preprocessing: Preprocessing, size: int | Size) -> torch.Tensor:
    """Resize, antialiased, then take the centre, or fill up. (...,C,H,W) uint8 -> (...,c,*size) uint8.

    size: between what the model sees and `box`, and `center_crop` of it to the former is the same window whatever it
    is: torchvision's. RGB becomes grey (luminance) for a model of one channel; grey stays grey here and is repeated by
    `normalize`. An image of this size is passed through.
    """
    if preprocessing.channels == 1 and image.shape[-3] == 3:
        image = luminance(image)
    wanted, seen = pair(size), preprocessing.size
    if image.shape[-2:] == wanted == preprocessing.box:
        return image
    if image.shape[-2:] != fitted(image.shape[-2], image.shape[-1], preprocessing):
        image = _middle(image, preprocessing)
        to = fitted(image.shape[-2], image.shape[-1], preprocessing)
        image = resized(image, to, preprocessing.interpolation)
    # rounding twice (to this size, then to the crop) would be a pixel off for a third of all sizes
    inner = [_margin(side, cut) for side, cut in zip(wanted, seen, strict=True)]
    outer = [_margin(side, cut) for side, cut in zip(image.shape[-2:], seen, strict=True)]
    top, left = (before - within for before, within in zip(outer, inner, strict=True))
    if image.shape[-2] < wanted[0] or image.shape[-1] < wanted[1]:
        return _filled_up(image, wanted, (-top, -left), preprocessing.grey)
    return image[..., top : top + wanted[0], left : left + wanted[1]]


def _filled_up(image: torch.Tensor, size: Size, at: Size, grey: int) -> torch.Tensor:
    """Lay the image on grey of this size. at: (rows above it, columns before it)."""
    height, width = image.shape[-2:]
    out = image.new_full((*image.shape[:-2], *size), grey)
    out[..., at[0] : at[0] + height, at[1] : at[1] + width] = image
    return out


def pair(size: int | Size) -> Size:
    """(height, width) of a square's side, or of what is (height, width) already."""
    return (size, size) if isinstance(size, int) else size


def plain(size: Size) -> int | Size:
    """A square's side, else (height, width): as augmentations get it, and as keys of caches have it."""
    return size[0] if size[0] == size[1] else size


def luminance(image: torch.Tensor) -> torch.Tensor:
    """(...,3,H,W) uint8 RGB -> (...,1,H,W) uint8, in integers: each of the 256 greys stays what it is."""
    red, green, blue = image.to(torch.int32).unbind(-3)
    sums = red.mul_(LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2]).add_(500)
    return sums.div_(1000, rounding_mode="floor").to(torch.uint8).unsqueeze(-3)


def resized(image: torch.Tensor, to: int | Size, interpolation: str) -> torch.Tensor:
    """Return the image at a size, or with its short side at one, antialiased. (...,C,H,W) uint8 -> (...,C,h,w) uint8.

    By torch's kernel for uint8, which sums integers: the same bytes on every processor. torchvision's own resize has
    other pixels, by one, where there is neither AVX2 nor ARM64.
    """
    height, width = image.shape[-2:]
    size = covering(height, width, (to, to)) if isinstance(to, int) else to
    batch = image.reshape(-1, *image.shape[-3:])
    if len(batch) == 1 and batch.is_contiguous(memory_format=torch.channels_last):
        # of one image torch cannot tell its layout by itself, and would copy the result into planes: 1.4 times the time
        batch = batch.as_strided(batch.shape, (batch.numel(), *batch.stride()[1:]))
    if interpolation == "nearest":
        out = F.interpolate(batch, size)
    else:
        out = F.interpolate(batch, size, mode=interpolation, antialias=True)
    return out.reshape(*image.shape[:-2], *size)


def covering(height: int, width: int, box: Size) -> Size:
    """(height, width) of an image that just covers the box: torchvision's rule, which rounds the other side down."""
    return max(box[0], box[1] * height // width), max(box[1], box[0] * width // height)


def fitted(height: int, width: int, preprocessing: Preprocessing) -> Size:
    """(height, width) that an image is resized to before it is cut or filled up; at least a pixel."""
    box = preprocessing.box
    if preprocessing.fit == "crop":
        return covering(height, width, box)
    if preprocessing.fit == "squash":
        return box
    return max(1, min(box[0], box[1] * height // width)), max(1, min(box[1], box[0] * width // height))


def _margin(side: int, size: int) -> int:
    """Pixels before the centre, with torchvision's rounding."""
    return round((side - size) / 2)


def window(height: int, width: int, preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """(top, left, height, width) of what the model sees, in pixels of an image of this size: more than it with bars.

    Above and left of it is as much of the image that is not seen as below and right, give or take a pixel.
    """
    cut = _cut(height, width, preprocessing)
    kept = [side - 2 * gone for side, gone in zip((height, width), cut, strict=True)]
    size = fitted(kept[0], kept[1], preprocessing)
    scale = [side / pixels for side, pixels in zip(kept, size, strict=True)]
    top, left = (
        gone + _margin(pixels, seen) * factor
        for gone, pixels, seen, factor in zip(cut, size, preprocessing.size, scale, strict=True)
    )
    return top, left, preprocessing.size[0] * scale[0], preprocessing.size[1] * scale[1]


def _cut(height: int, width: int, preprocessing: Preprocessing) -> Size:
    """(rows, columns) at each end that are not even resized: a 60000x1 image would grow to gigabytes otherwise.

    Only the centre survives anyway; an even number of pixels goes, so that it stays where it is.
    """
    if preprocessing.fit != "crop":
        return 0, 0
    high, wide = preprocessing.box
    longest = max(1, LONGEST * width * high // wide), max(1, LONGEST * height * wide // high)
    return max(0, height - longest[0]) // 2, max(0, width - longest[1]) // 2


def _middle(image: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    height, width = image.shape[-2:]
    top, left = _cut(height, width, preprocessing)
    return image[..., top : height - top, left : width - left] if top or left else image


def center_crop(images: torch.Tensor, size: int | Size) -> torch.Tensor:
    """(...,H,W) -> (...,size,size) from the centre, or (height, width): a view."""
    height, width = pair(size)
    top, left = (_margin(side, cut) for side, cut in zip(images.shape[-2:], (height, width), strict=True))
    return images[..., top : top + height, left : left + width]


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
    """How an image becomes one size of uint8: what a cache holds. size: pixels per side, or (height, width)."""

    preprocessing: Preprocessing
    size: int | Size

    @property
    def bytes(self) -> int:
        """Of one canvas, in colours where the model sees them."""
        height, width = pair(self.size)
        return self.preprocessing.channels * height * width

    def key(self) -> list[Any]:
        """What the pixels of a canvas depend on beside the image, for the keys of caches. JSON-plain."""
        how = self.preprocessing
        odd = [] if (how.fit, how.shape, how.reader) == ("crop", None, WHOLE) else [how.fit, how.size, how.reader]
        return [how.resize, self.size, how.interpolation, how.channels, *odd]

    def least(self, height: int, width: int) -> Size | None:
        """(height, width) that a file of this size is decoded to at least; None: to its own."""
        return self.preprocessing.least(height, width)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """(C,H,W) or (N,C,H,W) uint8 -> (...,c,*size) uint8."""
        return canvas(image, self.preprocessing, self.size)
