"""model.safetensors: weights with their classes and preprocessing in the header. Data, never code.

The header's metadata has one key, "ignite_vision", whose value is JSON: safetensors writes several keys in an order
that changes from save to save, and the same training must give the same bytes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.system.files import sync

FORMAT_VERSION = 1
KEY = "ignite_vision"


def write_model(path: Path, state: dict[str, torch.Tensor], header: dict[str, Any]) -> None:
    """Write weights and header in one step. header: JSON-plain values by name."""
    metadata = {KEY: json.dumps({"format_version": FORMAT_VERSION, **header})}
    temporary = path.with_name(f".{path.name}.tmp")
    save_tensors(temporary, state, metadata)
    sync(temporary)  # metrics.json, which says that the run is finished, must not survive a power cut alone
    temporary.replace(path)


def save_tensors(path: Path, state: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file in plain order, which has no memory formats, with a new file's usual permissions.

    OSError when the disk does not take it.
    """
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file({name: t.detach().cpu().contiguous() for name, t in state.items()}, path, metadata=metadata)
    except SafetensorError as error:  # "... I/O error: No space left on device (os error 28)"
        if number := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise
    path.chmod(mode)  # safetensors makes it readable by its owner alone


def read_header(path: Path) -> dict[str, Any]:
    """Return classes, preprocessing, architecture and the rest. UserError (exit 3) if the file is not one of ours."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"cannot read the model: {error}", path, "Restore it from a copy.", code=DAMAGED) from error
    if not isinstance(header, dict) or header.get("format_version") != FORMAT_VERSION:
        raise UserError("not a model that this version reads", path, "Train or export it again.", code=DAMAGED)
    return header


def load_weights(model: nn.Module, path: Path) -> None:
    """Load the file into the model, strictly: every name and shape must be the model's. UserError (exit 3)."""
    try:
        model.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the weights do not fit the model: {reason}", path, "It belongs to another recipe.", code=DAMAGED
        ) from error
