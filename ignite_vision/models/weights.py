"""TODO."""

from __future__ import annotations

import pickle
import re
import socket
import struct
import sys
import warnings
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.models.head import find_head

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
DOWNLOAD_TIMEOUT = 30  # seconds without an answer


def _download(weights: Any) -> dict[str, torch.Tensor]:
    """Fetch into torch's own folder of checkpoints, where what was fetched before is found again."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not file.exists():
        published_hash = re.search(r"-([0-9a-f]{8,})\.", file.name)
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(
                weights.url, str(file), published_hash and published_hash[1], progress=sys.stderr.isatty()
            )
        except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: the hash differs
            reason = getattr(error, "reason", None) or error
            raise UserError(
                f"cannot download the weights: {reason}",
                weights.url,
                f"Fetch that file ({weights.meta['_file_size']:,.0f} MB) elsewhere and put it into {file.parent}, "
                "or use --set weights=PATH or --set weights=none.",
            ) from error
        finally:
            socket.setdefaulttimeout(timeout)
    return read_state_dict(file)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors by name from a .safetensors or torch file. Never runs code. UserError (exit 3) if damaged."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files: about the format, not for the reader
            # weights_only always explicit: an environment variable can turn the default off
            found = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = str(error).split("\n")[0].split(". ")[0][:120]
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
    return {name.removeprefix("module."): checked(tensor, path) for name, tensor in found.items()}


def checked(tensor: torch.Tensor, path: Path) -> torch.Tensor:
    """Refuse a tensor that is not plain, or claims more than its file holds: a stride of 0 makes terabytes of bytes."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.device.type != "cpu":
        raise UserError("a tensor in the file is not a plain one", path, "Save dense, real tensors.", code=DAMAGED)
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise UserError("a tensor in the file claims more than it holds", path, "Do not use this file.", code=DAMAGED)
    return tensor


def load_backbone(network: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Load everything but the head, which keeps its fresh weights. UserError names what is missing or differs."""
    head = find_head(network)[0] + "."
    full = network.state_dict()
    own = {name: tensor for name, tensor in full.items() if not name.startswith(head)}
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
    problems += [f"{name} is not finite" for name, tensor in given.items() if not tensor.isfinite().all()]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"the weights do not fit the model: {', '.join(problems[:3])}{more}", source)
    # into the network's own dict, which knows the version of its layout: MNASNet refuses one that does not
    full.update(given)
    network.load_state_dict(full)


def todays_name(name: str) -> str:
    """Return what torchvision now calls a tensor that an older version named."""
    for pattern, replacement in OLD_NAMES:
        name = pattern.sub(replacement, name)
    return name
