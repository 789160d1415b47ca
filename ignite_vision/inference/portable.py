"""A whole classifier as one network: uint8 images of any size in, calibrated probabilities out.

Nothing but arithmetic on whole numbers, on which every runtime agrees. ONNX's own Resize will not do: it differs from
one runtime to the next (cubic on onnxruntime's CUDA, onnxruntime#25264; antialias in OpenVINO, openvino#35893).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ignite_vision.data.preprocessing import LUMA, Preprocessing

LONGEST = 8  # a long side counts up to so many times the short one, as in data.preprocessing
MOST_BITS, LARGEST = 22, 1 << 15  # torch shifts its weights by up to so many bits; the largest of them stays below
BLOCK = 16  # neighbouring pixels of the window that are computed from one stretch of the image
BYTE = 256
HALF = 0.5
F64 = torch.float64
POWERS = 2.0 ** torch.arange(MOST_BITS + 1)  # a table: not every runtime's pow is exact


class Portable(nn.Module):
    """(n,height,width,3) uint8 RGB -> (n,C) float32, rows that sum to 1. What numpy has of a Pillow image goes in.

    n, height and width may be any numbers above 0; the images of a batch have one size.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, temperature: float):
        super().__init__()
        self.window, self.network, self.temperature = Window(preprocessing), network, temperature
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.register_buffer("scale", (1 / (255 * std)).view(1, -1, 1, 1))
        self.register_buffer("shift", (-mean / std).view(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the probability of each class."""
        pixels = self.window(images) * self.scale + self.shift
        return (self.network(pixels) / self.temperature).softmax(1)


class Half(nn.Module):
    """A network that computes in float16 between float32 on both sides. The network itself is changed."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.half()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n,c,h,w) float32 -> (n,C) float32."""
        logits: torch.Tensor = self.network(pixels.half())
        return logits.float()


class Window(nn.Module):
    """(n,height,width,3) uint8 -> (n,channels,crop,crop) float32, whole numbers 0..255: `data.preprocessing.canvas`.

    The resize is torch's own of uint8 (aten/src/ATen/native/cpu/UpSampleKernel.cpp): weights of 16 bits, first along
    the width, then along the height, each pass rounded to uint8.
    """

    def __init__(self, preprocessing: Preprocessing):
        super().__init__()
        self.channels, self.resize, self.crop = preprocessing.channels, preprocessing.resize, preprocessing.crop
        self.interpolation = preprocessing.interpolation

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the window's pixels."""
        height, width = (torch.full((1,), side) for side in images.shape[1:3])
        short = torch.minimum(height, width)
        down, across = Pass(self, height, short), Pass(self, width, short)
        rows = down.stretch(down.outputs[:1, :1], self.crop).flatten()
        pixels = self._channels(images.index_select(1, down.place(rows)))
        # each pass resizes the axis behind the batch's: so pixels are moved as little as they can be
        columns = across.apply(pixels.permute(0, 2, 3, 1), across.place)
        window = down.apply(columns.permute(0, 3, 2, 1), lambda where: (where - rows[:1]).clamp(max=rows.shape[0] - 1))
        return window.permute(0, 2, 1, 3)

    def _channels(self, images: torch.Tensor) -> torch.Tensor:
        """(n,h,w,3) uint8 -> (n,h,w,channels): for a model that sees grey the luminance, exact in float32."""
        if self.channels == 3:
            return images
        red, green, blue = images.float().split(1, 3)
        return ((red * LUMA[0] + green * LUMA[1] + blue * LUMA[2] + 500) / 1000).floor()


class Pass:
    """The resize along one side, as a matrix product for each block of the window's pixels.

    A block takes the stretch of the image that it is made of alone; all at once, a photograph of 12 megapixels would
    need 16 billion products. Pixels of the side are counted within what is `kept` of it, from `cut` on. Sizes are
    symbolic while a network is exported.
    """

    def __init__(self, window: Window, length: torch.Tensor, short: torch.Tensor):
        self.kernel, self.crop, self.length = KERNELS[window.interpolation], window.crop, length
        self.cut = (length - LONGEST * short).clamp(min=0) // 2
        self.kept = length - 2 * self.cut
        self.resized = window.resize * self.kept // short
        self.scale = self.kept.to(F64) / self.resized
        self.blocks = -(-self.crop // BLOCK)
        inside = torch.arange(self.blocks * BLOCK).clamp(max=self.crop - 1).view(self.blocks, BLOCK)
        self.outputs = inside + margin(self.resized, self.crop)  # (blocks,BLOCK): the last ones may repeat

    def apply(self, pixels: torch.Tensor, find: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """(n,side,c,m) -> (n,crop,c,m) float32. find: where kept pixels are along the side."""
        n, _, c, m = pixels.shape
        where, weights, unit = self._plan()
        parts = pixels.index_select(1, find(where).flatten()).view(n, self.blocks, -1, c * m)
        high, low = (weights @ parts.float()).split(BLOCK, 2)
        out = ((high + (low / BYTE).floor()) * unit + HALF).floor().clamp(0, 255)
        return out.reshape(n, -1, c, m)[:, : self.crop]

    def stretch(self, outputs: torch.Tensor, count: int) -> torch.Tensor:
        """(...,1) the first of `count` neighbouring outputs -> (...,L) all kept pixels that they are made of."""
        most = 2 * self._shrunk(self.kernel.reach * torch.maximum(self.kept, self.resized)) + 2
        return self._reach(outputs)[0] + numbers(self._shrunk((count - 1) * self.kept) + most)

    def place(self, pixels: torch.Tensor) -> torch.Tensor:
        """Where kept pixels are in the image. Those beyond its end count nothing."""
        return torch.minimum(pixels + self.cut, self.length - 1)

    def _shrunk(self, pixels: torch.Tensor) -> torch.Tensor:
        """ceil(pixels / resized)."""
        return (pixels + self.resized - 1) // self.resized

    def _plan(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """((blocks,L) kept pixels, (blocks,2*BLOCK,L) weights, what 256 of them stand for).

        The weights' high bytes, then their low ones: multiplied apart, every sum is a whole number below 2^24 and exact
        in float32, in whatever order a processor adds. (The low ones' are not where a pixel is made of more than 258,
        and may then be off by one.)
        """
        where = self.stretch(self.outputs[:, :1], BLOCK)
        shift = self._shift()
        exact = self._shares(self.outputs[:, :, None], where[:, None]) * POWERS.index_select(0, shift)
        weights = torch.where(exact < 0, (exact - HALF).ceil(), (exact + HALF).floor())
        high = (weights / BYTE).floor()
        return where, torch.cat([high, weights - BYTE * high], 1).float(), (BYTE / POWERS).index_select(0, shift)

    def _shift(self) -> torch.Tensor:
        """(1,) int64: the most bits with which the largest weight of the whole side, not of the window, has 15."""
        outputs = numbers(self.resized + 1).minimum(self.resized - 1)[:, None]  # + 1: it may be 1
        largest = self._shares(outputs[..., None], self.stretch(outputs, 1)[:, None]).max()
        return ((largest * POWERS.to(F64)[1:] + HALF).floor() < LARGEST).sum(0, keepdim=True)

    def _shares(self, outputs: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """What outputs (...,P,1) take of kept pixels (...,1,L): (...,P,L) float64, whose rows sum to 1."""
        first, end = self._reach(outputs)
        far = (inputs - self._centre(outputs) + HALF) * (1 / self.scale.clamp(min=1))
        share = torch.where((inputs >= first) & (inputs < end), self.kernel.share(far.abs()), 0.0)
        return share / share.sum(-1, keepdim=True)

    def _reach(self, outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(the first kept pixel that counts for an output, the first one after it that does not), int64."""
        if not self.kernel.reach:  # nearest: in float32, as torch does it
            at = (outputs * self.scale.float()).long().minimum(self.kept - 1)
            return at, at + 1
        centre, reach = self._centre(outputs), self.kernel.reach * self.scale.clamp(min=1)
        return (centre - reach + HALF).long().clamp(min=0), (centre + reach + HALF).long().minimum(self.kept)

    def _centre(self, outputs: torch.Tensor) -> torch.Tensor:
        return self.scale * (outputs.to(F64) + HALF)


class Kernel:
    """How an interpolation weighs pixels. reach: pixels to each side, in an image that is not shrunk; 0: the nearest.

    share: of a distance above 0, in pixels of the smaller image.
    """

    def __init__(self, reach: int, share: Callable[[torch.Tensor], torch.Tensor]):
        self.reach, self.share = reach, share


def _cubic(x: torch.Tensor) -> torch.Tensor:
    """Keys' kernel with a = -0.5, as torch and Pillow have it where they antialias."""
    near, far = (1.5 * x - 2.5) * x * x + 1, (((x - 5) * x + 8) * x - 4) * -0.5
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


KERNELS = {
    "nearest": Kernel(0, torch.ones_like),
    "bilinear": Kernel(1, lambda x: (1 - x).clamp(min=0)),
    "bicubic": Kernel(2, _cubic),
}


def numbers(count: torch.Tensor) -> torch.Tensor:
    """(1,) int64, at least 2 -> 0, 1, ... count - 1. In an exported network this is a size of its own: a formula of the
    image's sizes would keep torch.export busy for minutes.
    """
    size: Any = count.item()
    torch._check(size >= 2)
    return torch.arange(size)


def margin(side: torch.Tensor, size: int) -> torch.Tensor:
    """round((side - size) / 2), half to even, in integers."""
    more = side - size
    return more // 2 + more % 4 // 3
