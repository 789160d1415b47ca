"""TODO."""

from __future__ import annotations

import os

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
        raise UserError(f"no {name} here: {why_no_cuda(look_for_nvidia())}", next_step="--device cpu works.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"no {name} here: there are {torch.cuda.device_count()}", next_step="--device cpu works.")
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


def make_deterministic() -> None:
    """Have CUDA choose kernels that give the same bits each time, where there are any; torch warns where not."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
