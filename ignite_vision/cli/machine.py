"""TODO."""

from __future__ import annotations

import os
import platform

import torch

from ignite_vision.system.device import pick_device, pick_precision
from ignite_vision.system.environment import processor, versions
from ignite_vision.system.files import data_home, runs_home
from ignite_vision.system.memory import _shared_memory
from ignite_vision.system.nvidia import look_for_nvidia, why_no_cuda


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
    rows.append(("shared memory", _shared_memory()))
    rows.append(("data folder", str(data_home())))
    rows.append(("runs folder", str(runs_home())))
    return rows
