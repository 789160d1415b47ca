"""Files of pretrained weights: read without running code, and loaded into everything but the head."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.models.head import find_head
from ignite_vision.models.state import must_be_finite, tensors_and_extra, versioned

AUXILIARY_KEYS = ("aux1.", "aux2.", "AuxLogits.")
# Published files still carry the names of older versions of torchvision: (pattern, what it is called today).
OLD_NAMES = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),  # densenet
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),  # vit
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)
# All that torch.load was seen to raise for 8,000 files with a few bytes changed or cut off.
UNREADABLE = (
    *(OSError, EOFError, RuntimeError, MemoryError, AssertionError, AttributeError, TypeError, ValueError),
    *(LookupError, OverflowError, struct.error, pickle.UnpicklingError, SafetensorError),
)


def load_plain(path: Path) -> Any:
    """Return what a torch file holds, on the CPU: tensors and plain values only, since no code is run.

    pickle.UnpicklingError for anything else; a damaged file raises any of UNREADABLE.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old files: about the format, not for the reader
        # weights_only always explicit: an environment variable can turn the default off
        return torch.load(path, map_location="cpu", weights_only=True)


def refuse_inflated(state: Any) -> None:
    """Raise ValueError for a tensor whose strides repeat its storage: 1 kB on disk could ask for terabytes.

    state: a tensor, or mappings, lists and tuples of tensors and anything else.
    """
    if isinstance(state, torch.Tensor):
        if state.layout == torch.strided and state.numel() * state.element_size() > state.untyped_storage().nbytes():
            size = state.untyped_storage().nbytes()
            raise ValueError(f"a tensor of shape {tuple(state.shape)} claims more than it holds, {size} bytes")
    elif isinstance(state, Mapping | list | tuple):
        for value in state.values() if isinstance(state, Mapping) else state:
            refuse_inflated(value)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors by name from a .safetensors or torch file. Never runs code. UserError (exit 3) if damaged."""
    try:
        found = load_file(path) if path.suffix == ".safetensors" else load_plain(path)
        refuse_inflated(found)
    except UNREADABLE as error:
        reason = str(error).split("\n")[0].split(". ")[0][:120] or "the file ends too soon"  # an EOFError says nothing
        raise UserError(
            f"cannot read the weights: {reason}", path, "Remove it and fetch it again.", code=DAMAGED
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
    ):
        raise UserError("the file holds no state dict", path, "Save model.state_dict().", code=DAMAGED)
    if not all(_is_plain(tensor) for tensor in found.values()):
        raise UserError("a tensor in the file is not a plain one", path, "Save dense, real tensors.", code=DAMAGED)
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is dense, real and has values."""
    return (
        tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and not tensor.is_complex()
    )


def load_backbone(network: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Load everything but the head, which keeps its fresh weights. UserError names what is missing or differs."""
    head = find_head(network)[0] + "."
    full = network.state_dict()
    own = {name: tensor for name, tensor in tensors_and_extra(full)[0].items() if not name.startswith(head)}
    given = {name if name in own else todays_name(name): tensor for name, tensor in state.items()}
    given = {n: t for n, t in given.items() if n in own or not n.startswith((head, *AUXILIARY_KEYS))}
    problems = [f"{name} is missing" for name in own if name not in given and not name.endswith("num_batches_tracked")]
    problems += [f"{name} is unknown" for name in given if name not in own]
    problems += [
        f"{name} is {tuple(given[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    # torchvision's IMAGENET1K_FEATURES have no classifier: it is filled with NaN
    bounded = must_be_finite(network)
    problems += [f"{name} is not finite" for name, t in given.items() if name in bounded and not t.isfinite().all()]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"the weights do not fit the model: {', '.join(problems[:3])}{more}", source)
    network.load_state_dict(versioned(network, {**full, **given}))


def todays_name(name: str) -> str:
    """Return what torchvision now calls a tensor that an older version named."""
    for pattern, replacement in OLD_NAMES:
        name = pattern.sub(replacement, name)
    return name
