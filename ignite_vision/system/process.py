"""TODO."""

from __future__ import annotations

import ctypes
import sys

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc


def tune_processor() -> None:
    """Set this process up to compute fast on a CPU: before the first tensor, since threads inherit it.

    Numbers below 1e-38 count as 0, as on a GPU: Adam's averages for weights without gradients, those of dead units,
    fade into such numbers and stay there, and a CPU multiplies them many times slower (`python -m benchmarks --only
    small` has the difference).
    """
    keep_freed_memory()
    torch.set_flush_denormal(True)


def keep_freed_memory() -> None:
    """Have glibc keep large blocks for the next batch instead of returning them to the system after each layer.

    Asking for them anew, page by page, takes up to 40 % of a forward pass on a CPU: on 2 cores keeping them is 1.64
    times as fast with mobilenet_v2, 1.30 with densenet121, 1.55 with resnet50 (`python -m benchmarks --only
    allocator`). No result changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 1 << 26)
