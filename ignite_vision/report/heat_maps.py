"""Which places of an image speak for a class: gradient times activation at the last place that still has positions.

Element by element, summed over the channels, what speaks for the class (HiResCAM, arXiv:2011.08891). With mean pooling
and a linear layer behind, that is the class activation map exactly: with the bias, its values sum to the logit. Where
positions are flattened into a linear layer it still says how much each of them adds, as Grad-CAM does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ignite_vision.data.preprocessing import Size, pair


def last_map(network: nn.Module, size: int | tuple[int, int], channels: int = 3) -> str | None:
    """Name of the module whose output is the network's last map, (N,C,h,w) of more than one position; None without.

    network: in eval mode. size: pixels per side of its input, or (height, width). One forward pass of one black image.
    A module that finishes later counts as later, so a block before its branches. A network that turns its map into a
    sequence of tokens, as a vision transformer, has none: only its first layer is a map, and that says little.
    """
    found: list[str] = []

    def watch(name: str) -> Any:
        def saw(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if _is_map(output, pair(size)):
                found.append(name)
            elif _has_positions(output, pair(size)):
                found.clear()

        return saw

    hooks = [module.register_forward_hook(watch(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            like = next(network.parameters())
            network(torch.zeros(1, channels, *pair(size), dtype=like.dtype, device=like.device))
    finally:
        for hook in hooks:
            hook.remove()
    return found[-1] if found else None


def gradcam(network: nn.Module, x: torch.Tensor, classes: Sequence[int], layer: str) -> torch.Tensor | None:
    """How much each position of a layer's output adds to the logit of a class. Float32 (N,h,w), never below 0.

    network: in eval mode. x: (N,C,H,W), normalised. classes: one of each image. layer: from `last_map`. Gradients are
    taken from this layer on, so it takes hardly longer than a forward pass. An image without any place that speaks for
    the class has zeros alone. None where the layer has no influence on the logits.
    """
    kept: list[torch.Tensor] = []

    def cut(_module: nn.Module, _inputs: Any, output: Any) -> torch.Tensor | None:
        if not _is_map(output, (x.shape[2], x.shape[3])):
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
    return (gradient.float() * kept[0].detach().float()).sum(1).clamp(min=0)


def _is_map(output: Any, size: Size) -> bool:
    """Whether this is (N,C,h,w) with more than one position, of an image of this size."""
    return torch.is_tensor(output) and output.ndim == 4 and _are_positions(output.shape[2], output.shape[3], size)


def _has_positions(output: Any, size: Size) -> bool:
    """Whether this has positions in another form: tokens (N,T,D), or (N,h,w,C)."""
    if not torch.is_tensor(output):
        return False
    if output.ndim == 4:
        return _are_positions(output.shape[1], output.shape[2], size)
    return output.ndim == 3 and output.shape[1] > 1


def _are_positions(high: int, wide: int, size: Size) -> bool:
    """Whether these are the sides of a map of such an image: equal for a square, else as the image's to a position."""
    height, width = size
    if height == width:
        return high == wide > 1
    return high * wide > 1 and abs(high * width - wide * height) <= max(height, width)
