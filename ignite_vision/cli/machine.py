"""What `ignite-vision doctor` finds on this machine: versions, device, precision, threads, memory and folders."""

from __future__ import annotations

import os
import platform

import torch

from ignite_vision.system import memory
from ignite_vision.system.device import pick_device, pick_precision
from ignite_vision.system.environment import processor, versions
from ignite_vision.system.files import data_home, runs_home
from ignite_vision.system.nvidia import look_for_nvidia, why_no_cuda

ADVISED = 1 << 30  # bytes of shared memory, below which batches of photographs may not fit


def doctor() -> list[tuple[str, str]]:
    """(subject, finding) rows that a bug report needs."""
    device = pick_device("auto")
    rows = list(versions().items())
    rows.append(("platform", platform.platform()))
    rows.append(("device", f"{device.type} · {processor(device)}"))
    if device.type == "cpu":
        rows.append(("cuda", why_no_cuda(look_for_nvidia())))
    else:
        rows.append(("cuda", f"{torch.version.cuda} · {torch.cuda.device_count()} device(s)"))
    rows.append(("precision", f"auto means {pick_precision('auto', device)} here"))
    rows.append(("instructions", torch.backends.cpu.get_cpu_capability()))
    rows.append(("threads", f"{torch.get_num_threads()} for torch · {os.cpu_count()} processors"))
    rows.append(("shared memory", shared_memory()))
    rows.append(("data folder", str(data_home())))
    rows.append(("runs folder", str(runs_home())))
    return rows


def shared_memory() -> str:
    """Where loader workers hand over their batches: how much is free, and what to do if that is little."""
    if not memory.SHARED_MEMORY.is_dir():
        return "none: use --workers 0"
    free = memory.free_shared_memory()
    advice = "" if free >= ADVISED else " · little for loader workers: docker run --shm-size 2g"
    return f"{free / 2**20:,.0f} MiB free{advice}"
