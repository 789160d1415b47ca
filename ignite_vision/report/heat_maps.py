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


def last_map(network: nn.Module, size: int, channels: int = 3) -> str | None:
    """Name of the module whose output is the network's last map, (N,C,h,w) of more than one position; None without.

    network: in eval mode. size: pixels per side of its input. One forward pass of one black image. A module that
    finishes later counts as later, so a block before its branches. A network that turns its map into a sequence of
    tokens, as a vision transformer, has none: only its first layer is a map, and that says little.
    """
    found: list[str] = []

    def watch(name: str) -> Any:
        def saw(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if _is_map(output):
                found.append(name)
            elif _has_positions(output):
                found.clear()

        return saw

    hooks = [module.register_forward_hook(watch(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            like = next(network.parameters())
            network(torch.zeros(1, channels, size, size, dtype=like.dtype, device=like.device))
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
        if not _is_map(output):
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


def _is_map(output: Any) -> bool:
    """Whether this is (N,C,h,w) of a square image, with more than one position."""
    return torch.is_tensor(output) and output.ndim == 4 and output.shape[2] == output.shape[3] > 1


def _has_positions(output: Any) -> bool:
    """Whether this has positions in another form: tokens (N,T,D), or (N,h,w,C)."""
    if not torch.is_tensor(output):
        return False
    return (output.ndim == 3 and output.shape[1] > 1) or (output.ndim == 4 and output.shape[1] == output.shape[2] > 1)
