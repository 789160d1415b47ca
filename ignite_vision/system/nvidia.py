"""Why torch finds no NVIDIA GPU: what the driver, the container and torch say, as one line with a way out."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import sys
import warnings
from pathlib import Path

import torch

FIRST_DRIVER = {12: "525", 13: "580"}  # of each CUDA, from NVIDIA's release notes of the toolkit
OLDER_TORCH = "https://download.pytorch.org/whl/cu126"  # for CUDA 12, and not built any more since torch 2.15


def has_cuda() -> bool:
    """Whether torch can compute on a GPU. Its warning of an old driver is five lines long; we say it in one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.cuda.is_available()


@dataclasses.dataclass(frozen=True)
class Nvidia:
    """What this machine or container has of NVIDIA, found without torch.

    driver: the newest CUDA that the driver supports, as it counts (12020 is 12.2); 0 without its library.
    on_host: the kernel has the driver, which a container sees with or without GPUs. asked_for: by `--gpus`.
    """

    torch: str | None
    driver: int
    on_host: bool
    device_files: bool
    asked_for: bool


def look_for_nvidia(root: Path = Path("/")) -> Nvidia:
    """Ask the machine whose file system begins at root."""
    return Nvidia(
        torch=torch.version.cuda,
        driver=_driver_cuda(),
        on_host=(root / "proc/driver/nvidia/version").exists(),
        device_files=any((root / "dev").glob("nvidia[0-9]*")),
        # what the NVIDIA container toolkit sets, or writes there when it has done its work in another way
        asked_for=os.environ.get("NVIDIA_VISIBLE_DEVICES", "void") not in ("", "void", "none"),
    )


def _driver_cuda() -> int:
    try:
        library = ctypes.CDLL("libcuda.so.1" if sys.platform != "win32" else "nvcuda.dll")
    except OSError:
        return 0
    version = ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    return version.value


def why_no_cuda(seen: Nvidia) -> str:
    """Why torch finds no GPU, and what to do about it: one line."""
    if seen.torch is None:
        return f"torch {torch.__version__} was built without CUDA; install torch and torchvision from PyPI"
    wanted = int(seen.torch.partition(".")[0])
    if not seen.driver:
        return _why_no_driver(seen)
    if seen.driver // 1000 < wanted:
        known = f"{seen.driver // 1000}.{seen.driver % 1000 // 10}"
        return (
            f"the NVIDIA driver is too old, it supports CUDA {known} and this torch needs {wanted}.0 (driver"
            f" {FIRST_DRIVER.get(wanted, 'of that time')} or newer); update it, or install torch and torchvision from"
            f" {OLDER_TORCH} instead"
        )
    return "the NVIDIA driver shows no GPU; look at nvidia-smi and CUDA_VISIBLE_DEVICES"


def _why_no_driver(seen: Nvidia) -> str:
    if seen.device_files or seen.asked_for:
        return (
            "a GPU was requested, but there is no driver library (libcuda.so.1); in Docker install the NVIDIA"
            " container toolkit and pass --gpus all"
        )
    if seen.on_host:
        return "the host has an NVIDIA driver, but this container got no GPU; pass --gpus all to docker run"
    return "no NVIDIA driver is visible; in Docker a GPU needs the driver, the NVIDIA container toolkit and --gpus all"


def unused_gpu(seen: Nvidia) -> str | None:
    """Why an NVIDIA GPU that is there, or was requested, is not used. None where there is none, or it is hidden."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if hidden or has_cuda() or not (seen.device_files or seen.asked_for):
        return None
    return why_no_cuda(seen)
