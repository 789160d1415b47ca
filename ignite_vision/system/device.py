"""Which device and precision a run computes with, and the forward pass in that precision."""

from __future__ import annotations

import contextlib

import torch

from ignite_vision.errors import UserError
from ignite_vision.system import distributed
from ignite_vision.system.nvidia import has_cuda, look_for_nvidia, why_no_cuda


def pick_device(name: str) -> torch.device:
    """`auto` is the first CUDA device, else the CPU. UserError when a device was asked for that is not there."""
    if name == "auto":
        name = "cuda" if has_cuda() else "cpu"
    if name == "cuda" and distributed.count() > 1:
        name = f"cuda:{distributed.local_rank()}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"no device '{name}'", next_step="Choose cpu, cuda or cuda:1.") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device '{name}' is not supported", next_step="Choose cpu, cuda or cuda:1.")
    if device.type == "cuda" and not has_cuda():
        raise UserError(f"{name} is not available: {why_no_cuda(look_for_nvidia())}", next_step="Use --device cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UserError(
            f"{name} is not available: GPUs are counted from 0, and there are {found}", next_step="Use --device cpu."
        )
    return device


def pick_precision(name: str, device: torch.device) -> str:
    """`auto` is bf16 where the processor computes in it, else fp32. fp16 needs CUDA."""
    if name == "auto":
        return "bf16" if has_bf16(device) else "fp32"
    if name == "fp16" and device.type != "cuda":
        raise UserError("precision fp16 needs a CUDA device", next_step="Choose bf16 or fp32.")
    return name


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 runs in hardware: emulated, it is slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # AVX-512 BF16 (Cooper Lake, Zen 4 and later); AMX machines have it as well
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


def autocast_dtype(precision: str) -> torch.dtype | None:
    """What autocast computes in; None for fp32."""
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[None]:
    """Within, a forward pass computes in this precision: layers for which torch's autocast has it, in bf16 or fp16.

    What comes out may be bf16 or fp16, too. In fp32 nothing is changed.
    """
    dtype = autocast_dtype(precision)
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def synchronize(device: torch.device) -> None:
    """Wait for a GPU: what it is asked to do is not done yet."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
