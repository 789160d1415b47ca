"""Which places of an image speak for a class: gradient times activation at the last place that still has positions.

Element by element, summed over the channels, what speaks for the class (HiResCAM, arXiv:2011.08891). With mean pooling
and a linear layer behind, that is the class activation map exactly: with the bias, its values sum to the logit. Where
positions are flattened into a linear layer it still says how much each of them adds, as Grad-CAM does not. So it does
for tokens of a vision transformer, before its last attention.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from ignite_vision.data.preprocessing import Size, pair
from ignite_vision.errors import UserError
from ignite_vision.models.head import find_head

PREFIX = 5  # tokens of no position, at most: a class token and four registers
HALF = 0.5  # of the positions


def last_map(network: nn.Module, size: int | Size, channels: int = 3) -> str | None:
    """Name of the module where heat maps are taken: the last whose output has positions that all matter. None without.

    network: in eval mode. size: pixels per side of its input, or (height, width). A module that finishes later
    counts as later, so a block before its branches. Where the last output with positions is a map, (N,C,h,w), that
    is it. Of tokens, (N,T,D), and of (N,h,w,C) it is the last as wide of which more than half have a gradient:
    behind its last attention only the class token of a vision transformer has one. One forward pass of an image of
    noise, or two and their gradient.
    """
    like = next(network.parameters())
    noise = torch.randn((1, channels, *pair(size)), generator=torch.Generator().manual_seed(0)).to(like)
    with _watched(network, pair(size)) as seen, torch.no_grad():
        network(noise)
    if not seen or _is_map(seen[-1][1], pair(size)):
        return seen[-1][0] if seen else None
    return _last_that_matters(network, noise, width=seen[-1][1].shape[-1])


def _last_that_matters(network: nn.Module, noise: torch.Tensor, width: int) -> str | None:
    """Name of the last module whose positions decide what goes into the head. width: of tokens that count.

    By a random direction of the head's input: the head itself may be zero, as that of a new vision transformer.
    """
    size = (noise.shape[2], noise.shape[3])
    caught: list[torch.Tensor] = []
    try:
        head = find_head(network)[1]
    except UserError:
        return None
    hook = head.register_forward_pre_hook(lambda _layer, inputs: caught.append(inputs[0]))
    try:
        with _watched(network, size) as seen, torch.enable_grad():
            network(noise.requires_grad_())
    finally:
        hook.remove()
    kept = [(n, o) for n, o in seen if o.requires_grad and (_is_map(o, size) or o.shape[-1] == width)]
    if not kept or not caught or not caught[-1].requires_grad:
        return None
    direction = torch.randn(caught[-1].shape, generator=torch.Generator().manual_seed(1)).to(caught[-1])
    gradients = torch.autograd.grad((caught[-1] * direction).sum(), [o for _, o in kept], allow_unused=True)
    there = [g is not None and float(_by_position(g.abs(), size).gt(0).float().mean()) > HALF for g in gradients]
    return next((name for (name, _), matters in zip(kept[::-1], there[::-1], strict=True) if matters), None)


@contextlib.contextmanager
def _watched(network: nn.Module, size: Size) -> Iterator[list[tuple[str, torch.Tensor]]]:
    """Within, what modules put out that has positions is kept with their names, in the order in which they finish."""
    seen: list[tuple[str, torch.Tensor]] = []

    def watch(name: str) -> Any:
        def saw(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if _has_positions(output, size):
                seen.append((name, output))

        return saw

    hooks = [module.register_forward_hook(watch(name)) for name, module in network.named_modules() if name]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def is_of_tokens(network: nn.Module, size: int | Size, channels: int, layer: str) -> bool:
    """Whether what a layer of `last_map` puts out are tokens, (N,T,D), which have attended to each other before."""
    like = next(network.parameters())
    with _watched(network, pair(size)) as seen, torch.no_grad():
        network(torch.zeros(1, channels, *pair(size), dtype=like.dtype, device=like.device))
    return any(name == layer and output.ndim == 3 for name, output in seen)


def gradcam(network: nn.Module, x: torch.Tensor, classes: Sequence[int], layer: str) -> torch.Tensor | None:
    """How much each position of a layer's output adds to the logit of a class. Float32 (N,h,w), never below 0.

    network: in eval mode. x: (N,C,H,W), normalised. classes: one of each image. layer: from `last_map`. Gradients are
    taken from this layer on, so it takes hardly longer than a forward pass. An image without any place that speaks for
    the class has zeros alone. None where the layer has no influence on the logits.
    """
    size = (x.shape[2], x.shape[3])
    kept: list[torch.Tensor] = []

    def cut(_module: nn.Module, _inputs: Any, output: Any) -> torch.Tensor | None:
        if not _has_positions(output, size):
            return None
        torch.set_grad_enabled(True)  # from here on; `no_grad` below sets it back
        kept[:] = [output.detach().requires_grad_()]
        return kept[0].clone()  # what follows may work in place

    hook = network.get_submodule(layer).register_forward_hook(cut)
    try:
        with torch.no_grad():
            logits = network(x).float()
            score = logits[range(len(x)), list(classes)].sum()
    finally:
        hook.remove()
    (gradient,) = torch.autograd.grad(score, kept, allow_unused=True) if score.requires_grad else (None,)
    if gradient is None:
        return None
    return _by_position(gradient.float() * kept[0].detach().float(), size).clamp(min=0)


def _is_map(output: Any, size: Size) -> bool:
    """Whether this is (N,C,h,w) with more than one position, of an image of this size."""
    return torch.is_tensor(output) and output.ndim == 4 and _are_positions(output.shape[2], output.shape[3], size)


def _has_positions(output: Any, size: Size) -> bool:
    """Whether this is a map, (N,h,w,C), or tokens (N,T,D), a few of which may be of no position."""
    if not torch.is_tensor(output) or not output.is_floating_point():
        return False
    if output.ndim == 3:
        return _grid(output.shape[1], size) is not None
    return _is_map(output, size) or (output.ndim == 4 and _are_positions(output.shape[1], output.shape[2], size))


def _are_positions(high: int, wide: int, size: Size) -> bool:
    """Whether these are the sides of a map of such an image: equal for a square, else as the image's to a position."""
    height, width = size
    if height == width:
        return high == wide > 1
    return high * wide > 1 and abs(high * width - wide * height) <= max(height, width)


def _grid(tokens: int, size: Size) -> Size | None:
    """Rows and columns of this many tokens, the last of them: None if they are none of an image of this size."""
    height, width = size
    high = math.isqrt(tokens * height // width)
    wide = round(high * width / height)
    fits = _are_positions(high, wide, size) and 0 <= tokens - high * wide <= PREFIX
    return (high, wide) if fits else None


def _by_position(values: torch.Tensor, size: Size) -> torch.Tensor:
    """Sum over the channels of what has positions: (N,h,w). Tokens of no position, which come first, are left out."""
    if values.ndim == 4:
        return values.sum(1 if _is_map(values, size) else 3)
    grid = _grid(values.shape[1], size)
    assert grid is not None  # it has positions
    return values[:, -(grid[0] * grid[1]) :].sum(2).unflatten(1, grid)
