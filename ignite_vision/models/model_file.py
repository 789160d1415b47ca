"""model.safetensors: weights with their classes and preprocessing in the header. Data, never code.

The header's metadata has one key, "ignite_vision", whose value is JSON: safetensors writes several keys in an order
that changes from save to save, and the same training must give the same bytes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.models.families.family import NotInstalled
from ignite_vision.models.header import check_header
from ignite_vision.models.meta import answer_shape, without_memory
from ignite_vision.models.named import build_architecture
from ignite_vision.models.state import all_finite, plain_extra, tensors_and_extra, versioned, weights_hash
from ignite_vision.system.files import replacing

FORMAT_VERSION = 1
KEY = "ignite_vision"
MAX_HEADER = 16 << 20  # bytes of a file's header, names and shapes included; safetensors would read 100 MB
# safetensors' names of the types that a network may have
DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "BOOL": torch.bool},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8},
}
UNREADABLE = (OSError, SafetensorError, ValueError, RecursionError)


def write_model(path: Path, state: Mapping[str, Any], header: Mapping[str, Any]) -> str:
    """Write weights and header in one step, and return the weights' hash.

    The header also gets that hash and one of itself, so that the file alone tells when a bit of it has changed.
    state: a network's state dict; what it has beside tensors goes into the header. header: JSON-plain values by name.
    UserError if the state holds what is neither tensor nor plain; OSError when the disk does not take it.
    """
    tensors, extra = tensors_and_extra(state)[0], plain_extra(state)
    digest = weights_hash(tensors)
    values = {"format_version": FORMAT_VERSION, **header, "weights_sha256": digest}
    if extra:
        values["extra_state"] = extra
    values["header_sha256"] = _seal(values)
    with replacing(path) as temporary:
        save_tensors(temporary, tensors, {KEY: json.dumps(values)})
    return digest


def save_tensors(path: Path, state: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file in plain order, which has no memory formats, with a new file's usual permissions.

    A tensor under two names is written under both. OSError when the disk does not take it.
    """
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(_apart(state), path, metadata=metadata)
    except SafetensorError as error:  # "... I/O error: No space left on device (os error 28)"
        if number := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise
    path.chmod(mode)  # safetensors makes it readable by its owner alone


def _apart(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors on the CPU in plain order, no two on the same memory: safetensors refuses those."""
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        plain = tensor.detach().cpu().contiguous()
        memory = plain.untyped_storage().data_ptr()
        found[name] = plain.clone() if memory in seen else plain
        seen.add(memory)
    return found


def read_header(path: Path) -> dict[str, Any]:
    """Return classes, preprocessing, architecture and the rest, unchecked: `check_header` looks at the values.

    UserError (exit 3) if the file is not one of ours.
    """
    try:
        _refuse_odd(path)
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "{}"))
        seal = _seal(header) if isinstance(header, dict) else ""
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    if not isinstance(header, dict) or header.get("format_version") != FORMAT_VERSION:
        raise UserError("not a model that this version reads", path, "Train it again.", code=DAMAGED)
    if header.get("header_sha256", seal) != seal:
        raise UserError("the model's header is not as it was written", path, "Restore it from a copy.", code=DAMAGED)
    return header


def _seal(header: Mapping[str, Any]) -> str:
    """Hash of everything else in a header: against accidents, not against people."""
    plain = json.loads(json.dumps({name: value for name, value in header.items() if name != "header_sha256"}))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def load_model(path: Path, header: Mapping[str, Any]) -> nn.Module:
    """Return the network of a model file with its weights, on the CPU, in eval mode. header: from `read_header`.

    Nothing is allocated before the file's names, types and shapes, and the images that its preprocessing makes, are
    known to fit the architecture. UserError: exit 2 for the network of a recipe, exit 3 for all else.
    """
    checked = check_header(header, path)
    make = functools.partial(build_architecture, checked.architecture, len(checked.classes), checked.preprocessing.crop)
    try:
        network = without_memory(make)
    except UserError as error:
        of_reader = checked.architecture.startswith("recipe:") or isinstance(error, NotInstalled)
        code = error.code if of_reader else DAMAGED
        raise UserError(error.what, path, error.next_step, code) from error
    check_shapes(path, network)
    _check_images(path, network, checked.preprocessing, len(checked.classes))
    with torch.random.fork_rng(devices=[]):  # the fresh weights are overwritten: nobody's next number changes
        network = make()
    load_weights(network, path)
    return network.eval()


def check_shapes(path: Path, network: nn.Module) -> None:
    """Compare the file's names, types and shapes with the network's, which may be on the meta device.

    Reads the header alone. UserError (exit 3) names the first difference.
    """
    wanted = {n: (t.dtype, tuple(t.shape)) for n, t in tensors_and_extra(network.state_dict())[0].items()}
    try:
        _refuse_odd(path)
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}
            found = {name: (DTYPES.get(s.get_dtype()), tuple(s.get_shape())) for name, s in slices.items()}
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            has, wants = _said(found.get(name)), _said(wanted.get(name))
            raise _misfit(path, f"{name} is {has} in the file, {wants} in the model")


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a model file into the network, strictly: every name and shape must be the network's.

    UserError (exit 3) if they are not, if a bit has changed since the file was written, or if a parameter is NaN or
    infinite.
    """
    header = read_header(path)
    try:
        tensors = load_file(path)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    if header.get("weights_sha256", digest := weights_hash(tensors)) != digest:
        raise UserError("the weights are not as they were written", path, "Restore it from a copy.", code=DAMAGED)
    extra = header.get("extra_state")
    try:
        network.load_state_dict(versioned(network, {**(extra if isinstance(extra, dict) else {}), **tensors}))
    except (RuntimeError, ValueError) as error:
        raise _misfit(path, _reason(error)) from error
    if not all_finite(network):
        hint = "Train it again: these weights cannot be used."
        raise UserError("the model holds parameters that are not finite", path, hint, code=DAMAGED)


def _check_images(path: Path, network: nn.Module, preprocessing: Preprocessing, num_classes: int) -> None:
    """Refuse a header whose preprocessing makes images that the network does not take. The network is on meta."""
    channels, size = preprocessing.channels, preprocessing.size
    try:
        fits = answer_shape(network, channels, size) == (2, num_classes)
    except (RuntimeError, ValueError, AssertionError):
        fits = False
    if not fits:
        raise _misfit(path, f"it does not take images of {channels}x{size[0]}x{size[1]}")


def _refuse_odd(path: Path) -> None:
    """Raise OSError or ValueError for what is not a file, on which reading could wait for ever, or a huge header."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        if int.from_bytes(file.read(8), "little") > MAX_HEADER:
            raise ValueError(f"its header is larger than {MAX_HEADER >> 20} MB, or it is not a safetensors file")


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = "its header is nested too deeply" if isinstance(error, RecursionError) else _reason(error)
    return UserError(f"cannot read the model: {reason}", path, "Restore it from a copy.", code=DAMAGED)


def _misfit(path: Path, reason: str) -> UserError:
    return UserError(f"the weights do not fit the model: {reason}", path, "It belongs to another recipe.", code=DAMAGED)


def _reason(error: Exception) -> str:
    """One line, of a few hundred characters at most."""
    return " ".join((getattr(error, "strerror", None) or str(error)).split())[:200]


def _said(tensor: tuple[torch.dtype | None, tuple[int, ...]] | None) -> str:
    """Return type and shape in words: `float32 (64, 3, 7, 7)`, or that there is none."""
    return "missing" if tensor is None else f"{str(tensor[0]).removeprefix('torch.')} {tensor[1]}"
