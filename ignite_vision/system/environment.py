"""What decides the last bits of a result outside its recipe: versions, processor, threads. `run.json` records it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ignite_vision._version import __version__
from ignite_vision.system import distributed

PACKAGES = ("torch", "torchvision", "pytorch-ignite", "safetensors", "numpy", "pillow", "tensorboardX")


def versions() -> dict[str, str]:
    """Versions of Python, of ours and of every package that can change a result."""
    found = {"ignite-vision": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def processor(device: torch.device) -> str:
    """The model name of what computes, as its maker writes it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def record(device: torch.device, precision: str) -> dict[str, Any]:
    """Everything outside the recipe that decides the last bits of a result. JSON-plain."""
    return {
        "versions": versions(),
        "device": device.type,
        "processor": processor(device),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": distributed.count(),
        "precision": precision,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
