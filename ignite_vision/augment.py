"""Random operations on whole batches of uint8 images, on the batch's device.

An operation is called as operation(images, u, size) -> images, with its random numbers u (N, operation.draws) float32
in [0, 1): a function of (seed, epoch, image) and nothing else, so that batch, worker, process and prefetch cannot
change what happens to an image. size: the pixels per side that the model sees, or (height, width) if it is no square.

- Without `draws` (or with 0) it is called as operation(images, size). Without, it may draw from torch's global
  generator, which is seeded for every iteration of training.
- With `targets = True` it is called as operation(images, targets, ...) -> (images, targets). It may return soft
  targets, (N,C) float32 that sum to 1, and must take those that an operation before it returned.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch.nn import functional as F

from ignite_vision.data.preprocessing import Size, center_crop, pair

Operation = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class RandomHorizontalFlip:
    """Mirror each image with probability p. (N,C,H,W) uint8 -> the same."""

    p: float = 0.5
    draws: ClassVar[int] = 1

    def __call__(self, images: torch.Tensor, u: torch.Tensor, size: int | Size) -> torch.Tensor:
        """u: (N,1). `size` is not needed."""
        del size
        return torch.where((u[:, 0] < self.p)[:, None, None, None], images.flip(-1), images)


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """One random window per image, after `padding` black pixels on each side."""

    padding: int = 0
    draws: ClassVar[int] = 2

    def __call__(self, images: torch.Tensor, u: torch.Tensor, size: int | Size) -> torch.Tensor:
        """(N,C,H,W) uint8 -> (N,C,size,size) uint8. u: (N,2), for y and x."""
        down, across = pair(size)
        if self.padding:
            images = F.pad(images, (self.padding,) * 4)
        height, width = images.shape[-2:]
        # numbers of Python's: a tensor of them would wait for the device
        top, left = (u[:, 0] * (height - down + 1)).long(), (u[:, 1] * (width - across + 1)).long()
        windows = images.unfold(2, down, 1).unfold(3, across, 1)  # a view of every window: (N,C,y,x,size,size)
        return windows[torch.arange(len(images), device=u.device), :, top, left]


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
    """A window of random area and shape, resized (Szegedy et al. 2015).

    scale: its share of the image's area; ratio: width over height, drawn log-uniformly. A window too wide or too
    high is cut to the image, where torchvision draws up to ten times.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    draws: ClassVar[int] = 4

    def __call__(self, images: torch.Tensor, u: torch.Tensor, size: int | Size) -> torch.Tensor:
        """(N,C,H,W) uint8 -> (N,C,size,size) uint8, bilinear. u: (N,4), for area, shape, y and x."""
        n, channels, height, width = images.shape
        area = _between(*self.scale, u[:, 0])
        shape = _between(math.log(self.ratio[0]), math.log(self.ratio[1]), u[:, 1]).exp()
        # window's width and height as shares of the image's
        wide = (area * shape * height / width).sqrt().clamp(max=1)
        high = (area / shape * width / height).sqrt().clamp(max=1)
        theta = torch.zeros(n, 2, 3, device=u.device)
        theta[:, 0, 0], theta[:, 0, 2] = wide, (2 * u[:, 3] - 1) * (1 - wide)
        theta[:, 1, 1], theta[:, 1, 2] = high, (2 * u[:, 2] - 1) * (1 - high)
        grid = F.affine_grid(theta, [n, channels, *pair(size)], align_corners=False)
        resized = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
        return resized.round_().to(torch.uint8)


def _between(low: float, high: float, u: torch.Tensor) -> torch.Tensor:
    return low + (high - low) * u


@dataclasses.dataclass(frozen=True)
class MixUp:
    """Blend each image and its target with the next one's of the batch (Zhang et al. 2018, with alpha = 1).

    An image's share is its own draw, uniform in [0,1). Its partner is the next image of the same forward pass, the
    last one's is the first: another number of processes, or another `accumulate`, makes other pairs.
    """

    num_classes: int
    draws: ClassVar[int] = 1
    targets: ClassVar[bool] = True

    def __call__(
        self, images: torch.Tensor, targets: torch.Tensor, u: torch.Tensor, size: int | Size
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """((N,C,H,W) uint8, (N,) int64 or (N,num_classes) float32) -> (the same, (N,num_classes) float32)."""
        del size
        if targets.ndim == 1:
            targets = F.one_hot(targets, self.num_classes).float()
        pixels = images.float()
        mixed = torch.lerp(pixels.roll(-1, 0), pixels, u[:, :, None, None])
        return mixed.round_().to(torch.uint8), torch.lerp(targets.roll(-1, 0), targets, u)


def draws(operations: Sequence[Operation]) -> int:
    """How many random numbers an image needs for all of them."""
    return sum(_draws(operation) for operation in operations)


def _draws(operation: Any) -> int:
    return getattr(operation, "draws", 0)


def needs_seed(operations: Sequence[Operation]) -> bool:
    """Whether any may draw from torch's global generator, which must then be seeded for every batch."""
    return any(not hasattr(operation, "draws") for operation in operations)


def changes_targets(operations: Sequence[Operation]) -> bool:
    """Whether any takes and returns targets: what is computed from images alone cannot apply it."""
    return any(_sees_targets(operation) for operation in operations)


def _sees_targets(operation: Any) -> bool:
    return getattr(operation, "targets", False) is True


def augment(
    images: torch.Tensor, targets: torch.Tensor, u: torch.Tensor, operations: Sequence[Operation], size: int | Size
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply all in order, then crop the centre where none has. (N,C,H,W) uint8 -> (N,C,size,size) uint8, and targets.

    targets: (N,) int64, and (N,C) float32 where an operation made them soft. u: (N, draws(operations)) float32.
    """
    used = 0
    for operation in operations:
        count = _draws(operation)
        arguments = (u[:, used : used + count], size) if count else (size,)
        if _sees_targets(operation):
            images, targets = operation(images, targets, *arguments)
        else:
            images = operation(images, *arguments)
        used += count
    return center_crop(images, size), targets
