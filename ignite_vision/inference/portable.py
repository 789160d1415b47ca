"""A whole classifier as one network: uint8 images of any size in, calibrated probabilities out.

Nothing but arithmetic on whole numbers, on which every runtime agrees. ONNX's own Resize will not do: it differs from
one runtime to the next (cubic on onnxruntime's CUDA, onnxruntime#25264; antialias in OpenVINO, openvino#35893).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ignite_vision.data.preprocessing import LONGEST, LUMA, Preprocessing

MOST_BITS, LARGEST = 22, 1 << 15  # torch shifts its weights by up to so many bits; the largest of them stays below
BLOCK = 16  # neighbouring pixels of the window that are computed from one stretch of the image
BYTE = 256
HALF = 0.5
F64 = torch.float64
POWERS = 2.0 ** torch.arange(1, MOST_BITS + 1, dtype=F64)  # a table: not every runtime's pow is exact


class Portable(nn.Module):
    """(n,height,width,3) uint8 RGB -> (n,C) float32, rows that sum to 1. What numpy has of a Pillow image goes in.

    n, height and width may be any numbers above 0; the images of a batch have one size.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, temperature: float):
        super().__init__()
        self.window, self.network = Window(preprocessing), network
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float32))
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
    """(n,height,width,3) uint8 -> (n,channels,H,W) float32, whole numbers 0..255: `data.preprocessing.canvas`.

    The resize is torch's own of uint8 (aten/src/ATen/native/cpu/UpSampleKernel.cpp): weights of 16 bits, first along
    the width, then along the height, each pass rounded to uint8. A pass is a matrix product for each block of the
    window, of the stretch of the image that it is made of: with all of it, 12 megapixels would be 16 billion products.
    """

    def __init__(self, preprocessing: Preprocessing):
        super().__init__()
        self.preprocessing, self.size = preprocessing, preprocessing.size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the window's pixels."""
        sides = torch.cat([torch.full((1,), side, dtype=F64) for side in images.shape[1:3]]).view(2, 1, 1, 1)
        plan = Plan(self.preprocessing, sides)
        rows = plan.rows()
        pixels = self._channels(images.index_select(1, plan.places(rows)[0].flatten()))
        down, across = plan.stretches()
        weights, units = plan.weights()
        # each pass resizes the axis behind the batch's: so pixels are moved as little as they can be
        columns = self._pass(pixels.permute(0, 2, 3, 1), plan.places(across)[1], weights[1], units[1])
        columns = columns[:, : self.size[1]]
        there = (down - rows[0, 0, 0, :1]).clamp(max=rows.shape[-1] - 1).long()
        window = self._pass(columns.permute(0, 3, 2, 1), there, weights[0], units[0])[:, : self.size[0]]
        return self._filled_up(window.permute(0, 2, 1, 3), plan)

    def _filled_up(self, window: torch.Tensor, plan: Plan) -> torch.Tensor:
        """Lay grey where the window is beyond the image: there the nearest pixels are repeated."""
        if self.preprocessing.fit != "pad":
            return window
        down, across = (inside[:side] for inside, side in zip(plan.inside(), self.size, strict=True))
        return torch.where(down[:, None] & across, window, float(self.preprocessing.grey))

    def _channels(self, images: torch.Tensor) -> torch.Tensor:
        """(n,h,w,3) uint8 -> (n,h,w,channels): for a model that sees grey the luminance, exact in float32."""
        if self.preprocessing.channels == 3:
            return images
        red, green, blue = images.float().split(1, 3)
        return ((red * LUMA[0] + green * LUMA[1] + blue * LUMA[2] + 500) / 1000).floor()

    def _pass(
        self, pixels: torch.Tensor, where: torch.Tensor, weights: torch.Tensor, unit: torch.Tensor
    ) -> torch.Tensor:
        """(n,side,c,m) -> (n,blocks*BLOCK,c,m) float32, 0..255. where: (blocks,1,L). weights: (blocks,2*BLOCK,L)."""
        n, _, c, m = pixels.shape
        parts = pixels.index_select(1, where.flatten()).view(n, len(weights), -1, c * m).float()
        high, low = (weights @ parts).split(BLOCK, 2)
        out = ((high + (low / BYTE).floor()) * unit + HALF).floor().clamp(0, 255)
        return out.reshape(n, -1, c, m)


class Plan:
    """Which pixels of an image the window's are made of, and how much of each. All float64: whole numbers are exact.

    Height and width are computed at once, along the first of four axes: (2, blocks, BLOCK, pixels of the image). Pixels
    are counted within what is kept of a side, `cut` before it. sides: (2,1,1,1), height and width.
    """

    def __init__(self, preprocessing: Preprocessing, sides: torch.Tensor):
        self.kernel, self.sides, self.fit = KERNELS[preprocessing.interpolation], sides, preprocessing.fit
        self.box, self.size = (
            torch.tensor(pair, dtype=F64).view(2, 1, 1, 1) for pair in (preprocessing.box, preprocessing.size)
        )
        self.cut = self._cut()
        self.kept = sides - 2 * self.cut
        self.resized = self._fitted(self.kept)
        self.scale = self.kept / self.resized
        self.reach = self.kernel.reach * self.scale.clamp(min=1)
        blocks = -(-max(preprocessing.size) // BLOCK)
        window = torch.arange(blocks * BLOCK, dtype=F64).view(1, blocks, BLOCK, 1).minimum(self.size - 1)
        self.window = window + ((self.resized - self.size) / 2).round()  # the last ones may repeat
        self.outputs = self.window.clamp(min=0).minimum(self.resized - 1)

    def _fitted(self, sides: torch.Tensor) -> torch.Tensor:
        """What sides are resized to: `data.preprocessing.fitted`."""
        by_other = (self.box.flip(0) * sides / sides.flip(0)).floor()
        if self.fit == "pad":
            return self.box.minimum(by_other).clamp(min=1)
        return self.box.maximum(by_other) if self.fit == "crop" else self.box

    def _cut(self) -> torch.Tensor:
        """What of an elongated image is not even resized, at each end; what is not resized at all is not cut."""
        if self.fit != "crop":
            return torch.zeros_like(self.sides)
        longest = (LONGEST * self.sides.flip(0) * self.box / self.box.flip(0)).floor().clamp(min=1)
        too_long = ((self.sides - longest).clamp(min=0) / 2).floor()
        return torch.where((self._fitted(self.sides) == self.sides).all(), 0.0, too_long)

    def inside(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(rows, columns) of the window that the image is at, bool (blocks*BLOCK,) each."""
        down, across = ((self.window >= 0) & (self.window < self.resized)).flatten(1)
        return down, across

    def rows(self) -> torch.Tensor:
        """(2,1,1,R) all kept pixels that the window is made of."""
        return self._stretch(self.outputs[:, :1, :1], self.size)

    def stretches(self) -> torch.Tensor:
        """(2,blocks,1,L) all kept pixels that a block is made of."""
        return self._stretch(self.outputs[:, :, :1], BLOCK)

    def places(self, pixels: torch.Tensor) -> torch.Tensor:
        """Where kept pixels are in the image, int64. Those beyond its end count nothing."""
        return torch.minimum(pixels + self.cut, self.sides - 1).long()

    def weights(self) -> tuple[torch.Tensor, torch.Tensor]:
        """((2,blocks,2*BLOCK,L) weights, (2,1,1,1) what 256 of them stand for), float32.

        The weights' high bytes, then their low ones: multiplied apart, every sum is a whole number below 2^24 and exact
        in float32, in whatever order a processor adds. (The low ones' are not where a pixel is made of more than 258,
        and may then be off by one.)
        """
        power = self._power()
        exact = self._shares(self.outputs, self.stretches()) * power
        whole = torch.where(exact < 0, (exact - HALF).ceil(), (exact + HALF).floor())
        high = (whole / BYTE).floor()
        return torch.cat([high, whole - BYTE * high], 2).float(), (BYTE / power).float()

    def _power(self) -> torch.Tensor:
        """(2,1,1,1) what torch multiplies weights by: the largest of a whole side, not of the window, has 15 bits."""
        outputs = numbers(self.resized + 1).view(1, -1, 1, 1).minimum(self.resized - 1)
        largest = self._shares(outputs, self._stretch(outputs, 1)).amax((1, 2, 3), keepdim=True)
        return torch.where((largest * POWERS + HALF).floor() < LARGEST, POWERS, 1.0).amax(3, keepdim=True)

    def _stretch(self, outputs: torch.Tensor, count: int | torch.Tensor) -> torch.Tensor:
        """(...,1) the first of `count` neighbouring outputs -> (...,L) all kept pixels that they are made of."""
        return self._ends(outputs)[0] + numbers((count - 1) * self.scale + 2 * self.reach + 3)

    def _shares(self, outputs: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """What outputs (...,P,1) take of kept pixels (...,1,L): (...,P,L), whose rows sum to 1."""
        first, end = self._ends(outputs)
        far = (pixels - self._centre(outputs) + HALF) * (1 / self.scale.clamp(min=1))
        share = torch.where((pixels >= first) & (pixels < end), self.kernel.share(far.abs()), 0.0)
        return share / share.sum(-1, keepdim=True)

    def _ends(self, outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(the first kept pixel that counts for an output, the first one after it that does not)."""
        if not self.kernel.reach:  # nearest: in float32, as torch does it
            at = (outputs.float() * self.scale.float()).floor().to(F64).minimum(self.kept - 1)
            return at, at + 1
        centre = self._centre(outputs) + HALF
        return (centre - self.reach).floor().clamp(min=0), (centre + self.reach).floor().minimum(self.kept)

    def _centre(self, outputs: torch.Tensor) -> torch.Tensor:
        return self.scale * (outputs + HALF)


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
    """Return 0, 1, ... float64, as many as the largest count says, rounded down: at least 2.

    In an exported network that is a size of its own: as a formula of the image's sizes it keeps torch.export busy for
    minutes.
    """
    size: Any = count.max().long().item()
    torch._check(size >= 2)
    return torch.arange(size, dtype=F64)


def exported(module: Portable) -> torch.export.ExportedProgram:
    """Return the network as torch.export has it, for any number of images of any size, without a path of this machine.

    Whatever torch raises of a network that it cannot export: data-dependent control flow, for example.
    """
    names = {0: "n", 1: "height", 2: "width"}
    sizes = {axis: torch.export.Dim(name, min=1) for axis, name in names.items()}
    example = torch.zeros(2, 30, 40, 3, dtype=torch.uint8)  # two: torch.export takes one for a constant
    program = torch.export.export(module.eval(), (example,), dynamic_shapes={"images": sizes})
    for node in program.graph_module.graph.nodes:
        node.meta.pop("stack_trace", None)  # a thousand lines of source and where they lie
    return program
