"""Networks without memory, to compare a stranger's file with before anything is allocated for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ignite_vision.data.preprocessing import pair

ALLOCATORS = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)


class WithoutMemory(TorchFunctionMode):
    """Within `with WithoutMemory():` layers are built on the meta device, and draw no random number.

    Unlike within `torch.device("meta")` small tables keep their values: RegNets compute their widths with `arange`.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Send what allocates to the meta device."""
        del types
        options = dict(kwargs or {})
        if func in ALLOCATORS and options.get("device") is None:
            options["device"] = "meta"
        return func(*args, **options)


def without_memory(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a network whose layers are on the meta device. make: builds it."""
    try:
        with WithoutMemory():
            return make()
    except RuntimeError:  # some mix such a table with what has no values, as timm's mixed rotary embeddings do
        with torch.device("meta"):
            return make()


def answer_shape(network: nn.Module, channels: int, size: int | tuple[int, int]) -> tuple[int, ...]:
    """Shape of the network's answer to two images of channels x size x size, computed without a number.

    size: pixels per side, or (height, width).

    The network moves to the meta device. RuntimeError, ValueError or AssertionError if it does not take such images.
    """
    with torch.no_grad():
        answer = network.eval().to("meta")(torch.empty(2, channels, *pair(size), device="meta"))
    return tuple(answer.shape)
