"""The machine under a run: its device, its precisions, its versions. What `doctor` prints and run.json records."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import platform
import shutil
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ignite_vision import distributed
from ignite_vision._version import __version__
from ignite_vision.errors import UserError

PACKAGES = ("torch", "torchvision", "pytorch-ignite", "safetensors", "numpy", "pillow", "tensorboardX")
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc
FIRST_DRIVER = {12: "525", 13: "580"}  # of each CUDA, from NVIDIA's release notes of the toolkit
OLDER_TORCH = "https://download.pytorch.org/whl/cu126"  # for CUDA 12, and no longer built since torch 2.15
SHARED_MEMORY = Path("/dev/shm")  # what loader workers hand their batches over in


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


def has_cuda() -> bool:
    """Whether torch can compute on a GPU. Its warning of an old driver is five lines long; we say it in one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.cuda.is_available()


@dataclasses.dataclass(frozen=True)
class Nvidia:
    """What there is of NVIDIA on this machine or in this container, asked without torch.

    driver: the newest CUDA that the driver knows, as it counts (12020 is 12.2); 0 without its library.
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
            f"the NVIDIA driver is too old, it knows CUDA {known} and this torch needs {wanted}.0 (driver"
            f" {FIRST_DRIVER.get(wanted, 'of that time')} or newer); update it, or install torch and torchvision from"
            f" {OLDER_TORCH} instead"
        )
    return "the NVIDIA driver shows no GPU; look at nvidia-smi and CUDA_VISIBLE_DEVICES"


def _why_no_driver(seen: Nvidia) -> str:
    if seen.device_files or seen.asked_for:
        return (
            "a GPU was asked for, but there is no driver library (libcuda.so.1); in Docker install the NVIDIA"
            " container toolkit and pass --gpus all"
        )
    if seen.on_host:
        return "the host has an NVIDIA driver, but this container got no GPU; pass --gpus all to docker run"
    return "no NVIDIA driver is visible; in Docker it takes the driver and the NVIDIA container toolkit, and --gpus all"


def unused_gpu(seen: Nvidia) -> str | None:
    """Why an NVIDIA GPU that is here, or was asked for, computes nothing. None where there is none, or it is hidden."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if hidden or has_cuda() or not (seen.device_files or seen.asked_for):
        return None
    return why_no_cuda(seen)


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


def make_deterministic() -> None:
    """Have CUDA choose kernels that give the same bits each time, where there are any; torch warns where not."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


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


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on the device now; what the system holds in its file cache counts as free."""
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


def _shared_memory() -> str:
    if not SHARED_MEMORY.is_dir():
        return "none: use --workers 0"
    free = shutil.disk_usage(SHARED_MEMORY).free
    advice = "" if free >= 1 << 30 else " · little for loader workers: docker run --shm-size 2g"
    return f"{free / 2**20:,.0f} MiB free{advice}"


def data_home() -> Path:
    """Where data sets live: $IGNITE_VISION_DATA, else ignite-vision/data in the user's cache folder."""
    return _home("IGNITE_VISION_DATA", cache_home() / "data")


def runs_home() -> Path:
    """Where runs are written: $IGNITE_VISION_RUNS, else runs/ here."""
    return _home("IGNITE_VISION_RUNS", Path("runs"))


def _home(variable: str, default: Path) -> Path:
    value = os.environ.get(variable)
    return Path(value).expanduser() if value else default


def cache_home() -> Path:
    """Where what can be computed again lives: ignite-vision in $XDG_CACHE_HOME, else in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ignite-vision"
