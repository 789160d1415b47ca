"""Each reason for no NVIDIA GPU is one line; the machine, a made-up one and a driver of our own are asked."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from ignite_vision.system import nvidia

# what torch asks of a driver before it says that it is too old
OLD_DRIVER = "int cuDriverGetVersion(int *v) { *v = 12020; return 0; } int cuInit(unsigned f) { return 0; }"

NOTHING = nvidia.Nvidia(torch="13.2", driver=0, on_host=False, device_files=False, asked_for=False)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"torch": None}, "was built without CUDA; install torch and torchvision from PyPI"),
        ({}, "no NVIDIA driver is visible; in Docker a GPU needs the driver, the NVIDIA container toolkit and"),
        ({"on_host": True}, "this container got no GPU; pass --gpus all"),
        ({"asked_for": True}, "install the NVIDIA container toolkit and pass --gpus all"),
        ({"device_files": True, "on_host": True}, "no driver library (libcuda.so.1)"),
        ({"driver": 12020}, "supports CUDA 12.2 and this torch needs 13.0 (driver 580 or newer); update it, or"),
        ({"driver": 13000}, "shows no GPU; look at nvidia-smi"),
    ],
)
def test_each_reason_for_no_gpu_is_a_line_with_a_way_out(seen, words):
    line = nvidia.why_no_cuda(replace(NOTHING, **seen))
    assert words in line
    assert "\n" not in line


def test_the_machine_is_asked_for_its_driver_and_device_files(monkeypatch, tmp_path):
    monkeypatch.delenv("NVIDIA_VISIBLE_DEVICES", raising=False)
    before = nvidia.look_for_nvidia(tmp_path)
    assert (before.on_host, before.device_files, before.asked_for) == (False, False, False)
    for file in ("proc/driver/nvidia/version", "dev/nvidia0"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "all")
    after = nvidia.look_for_nvidia(tmp_path)
    assert (after.on_host, after.device_files, after.asked_for) == (True, True, True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine's GPU is used")
def test_an_idle_gpu_is_worth_a_line_unless_it_is_hidden(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert nvidia.unused_gpu(NOTHING) is None
    assert "toolkit" in nvidia.unused_gpu(replace(NOTHING, asked_for=True))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert nvidia.unused_gpu(replace(NOTHING, asked_for=True)) is None


@pytest.fixture
def old_driver(tmp_path):
    """Return an environment whose libcuda.so.1 is one for CUDA 12.2, as far as torch's own check asks it."""
    if not shutil.which("cc") or torch.version.cuda is None or torch.cuda.is_available():
        pytest.skip("wants a C compiler, a torch with CUDA, and no GPU")
    (tmp_path / "driver.c").write_text(OLD_DRIVER)
    built = tmp_path / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", built, tmp_path / "driver.c"], check=True)
    return {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "NVIDIA_VISIBLE_DEVICES": "all"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "code", "begin"), [("cuda", 2, "error: cuda is not available"), ("auto", 0, "warning: ")]
)
def test_an_old_driver_is_one_line_and_not_torchs_five(old_driver, tmp_path, device, code, begin):
    command = ["run", "digits", "--epochs", "1", "--out", str(tmp_path / "run"), "--device", device]
    done = subprocess.run(
        [sys.executable, "-m", "ignite_vision", *command], capture_output=True, text=True, env=old_driver
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(begin)
    (line,) = [line for line in done.stderr.splitlines() if "NVIDIA" in line]
    assert "the NVIDIA driver is too old, it supports CUDA 12.2" in line
    assert "UserWarning" not in done.stderr
