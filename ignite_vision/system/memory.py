"""How much memory is free: on the device, and where loader workers hand over their batches."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from ignite_vision.system import distributed

RESIDENT_SHARE = 0.25  # of the free memory that rows may take
CONTROL_GROUP = Path("/sys/fs/cgroup")
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
    return min(available, _left_in_container())


def fits(size: int, device: torch.device) -> bool:
    """Whether that many bytes of rows may stay on the device; in the CPU's memory each process here has its own."""
    processes = distributed.local_count() if device.type == "cpu" else 1
    return size * processes <= RESIDENT_SHARE * free_memory(device)


def _left_in_container() -> int:
    """Bytes that the control group may still use, where Docker's --memory limits it; else more than there are."""
    for limit, used, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, now = (int((CONTROL_GROUP / name).read_text(encoding="ascii")) for name in (limit, used))
            lines = (CONTROL_GROUP / limit).with_name("memory.stat").read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):  # not there, or "max"
            continue
        freed = sum(int(line.split()[1]) for line in lines if line.split()[0] == cached)  # when others need it
        return max(most - now + freed, 0)
    return 1 << 62


def free_shared_memory() -> int:
    """Bytes free where loader workers hand over their batches."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 1 << 62
