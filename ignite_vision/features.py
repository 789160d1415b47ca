"""Features of a frozen network, computed once: the input of its head, for every image and view.

Nothing below a head that trains alone ever changes, so every pass over it but the first is waste.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from ignite_vision.models import find_head


class _Enough(Exception):
    """Ends a forward pass at the head."""


@contextlib.contextmanager
def stopped_before(layer: nn.Module) -> Iterator[Callable[[nn.Module, torch.Tensor], torch.Tensor]]:
    """Within, the value is a function (model, images) -> what would have gone into `layer`."""
    caught: list[torch.Tensor] = []

    def catch(_layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        caught.append(inputs[0])
        raise _Enough

    def below(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
        with contextlib.suppress(_Enough):
            model(images)
        return caught.pop()

    handle = layer.register_forward_pre_hook(catch)
    try:
        yield below
    finally:
        handle.remove()


def split_at_head(model: nn.Module) -> tuple[nn.Module, nn.Sequential]:
    """(first layer that is not cached, the part of the model from there on).

    The first is the Dropout directly before the head, if there is one: it draws anew in each epoch. What follows
    the head in its Sequential belongs to the part, as in SqueezeNet. The layers are the model's own, not copies.
    """
    name, head = find_head(model)
    leaves = [module for module in model.modules() if not list(module.children())]
    place = next(i for i, leaf in enumerate(leaves) if leaf is head)
    layers: list[nn.Module] = [head]
    if place and isinstance(leaves[place - 1], nn.Dropout):
        layers.insert(0, leaves[place - 1])
    parent = model.get_submodule(name.rpartition(".")[0])
    if isinstance(parent, nn.Sequential):
        siblings = list(parent)
        layers += siblings[siblings.index(head) + 1 :]
    return layers[0], nn.Sequential(*layers, nn.Flatten())


def frozen_hash(model: nn.Module) -> str:
    """Hash of everything in the model but its head: of what the features depend on."""
    head = find_head(model)[0]
    digest = hashlib.sha256(type(model).__name__.encode())
    for name, tensor in model.state_dict().items():
        if not name.startswith(f"{head}."):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def describe_model(model: nn.Module, **facts: Any) -> dict[str, Any]:
    """What the features of a model depend on. JSON-plain."""
    return {"model": frozen_hash(model), **facts}


def pad_rows(index: np.ndarray, batch: int) -> np.ndarray:
    """Repeat the last index until there are `batch`: one fixed shape, so that the bits of a row stay the same."""
    return np.concatenate([index, np.repeat(index[-1:], batch - len(index))])
