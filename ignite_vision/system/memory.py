"""How much memory is free: on the device, and where loader workers hand over their batches."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

SHARED_MEMORY = Path("/dev/shm")  # what loader workers hand their batches over in


def free_memory(device: torch.device) -> int:
    """Bytes available on the device now; what the system holds in its file cache counts as free."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return min(available, _container_limit())


def _container_limit() -> int:
    """Bytes that the control group may use, as Docker's --memory sets it; without a limit, more than there are."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return int((Path("/sys/fs/cgroup") / name).read_text(encoding="ascii"))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return 1 << 62


def free_shared_memory() -> int:
    """Bytes free where loader workers hand over their batches."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 1 << 62
