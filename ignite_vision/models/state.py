"""What the state of a network is made of: tensors, and what `get_extra_state` adds; hashed, judged, loaded again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ignite_vision.errors import UserError

RUNNING = ("running_mean", "running_var")  # the buffers of BatchNorm that training computes


def tensors_and_extra(state: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Divide a state dict into (tensors, all else by name): `get_extra_state` may return anything.

    Extra state that is itself a tensor counts as one.
    """
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    return tensors, {name: value for name, value in state.items() if name not in tensors}


def plain_extra(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state dict's extra state. UserError if JSON would not give it back as it is.

    Asked before training as well: a model that cannot be published is refused before its first epoch, not after the
    last.
    """
    extra = tensors_and_extra(state)[1]
    for name, value in extra.items():
        try:
            plain = json.loads(json.dumps(value, allow_nan=False)) == value
        except (TypeError, ValueError, RecursionError):
            plain = False
        if not plain:
            raise UserError(
                f"the model's {name} is not plain data",
                next_step="Let get_extra_state return numbers, texts, lists or dicts of these, or one tensor.",
            )
    return extra


def versioned(network: nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state as `network.load_state_dict` wants it: with the versions of the network's own layers.

    Plain dicts and files have none, and MNASNet refuses those.
    """
    own = network.state_dict()
    own.clear()
    own.update(state)
    return own


def weights_hash(state: Mapping[str, Any]) -> str:
    """sha256, in hex, over the tensors of a state dict, sorted by name: names, dtypes, shapes and bytes.

    The same on every device and for every memory format; other values than tensors do not count.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors_and_extra(state)[0].items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def must_be_finite(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return by name what is never NaN or infinite in a good network: parameters, and BatchNorm's statistics.

    Another buffer may be: the mask of an attention holds -inf.
    """
    found: dict[str, torch.Tensor] = dict(network.named_parameters(remove_duplicate=False))
    buffers = network.named_buffers(remove_duplicate=False)
    return found | {name: buffer for name, buffer in buffers if name.rpartition(".")[2] in RUNNING}


def all_finite(network: nn.Module) -> bool:
    """Whether all parameters and BatchNorm's statistics are finite. Waits for the device."""
    return all(bool(tensor.isfinite().all()) for tensor in must_be_finite(network).values())
