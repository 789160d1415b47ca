"""Memory and shared memory of the real command, in a process of its own: as the system counts them."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what is anonymous memory"),
]

FEW, MANY = 2_000, 40_000  # images
# Measured: 160 to 200 bytes of anonymous memory for each further image, most of them while the folder is looked
# through. Beside that up to 110 MB where threads decode: malloc finds no place for them in what it has, now and then.
SIDE = 48  # pixels
MOST = 200 << 20  # bytes that MANY may take more than FEW: the images' pixels alone are 263 MB
STOPPED = 75  # exit code of a run that a signal ended, saved

# A network that trains in no time, so that a run is little more than reading images.
RECIPE = '''"""Tiny."""
import dataclasses
import signal

from ignite.engine import Events
from torch import nn

from ignite_vision import Recipe, datasets


def network(num_classes):
    pooled = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(pooled, nn.Linear(4, num_classes))


def stop_soon(run):
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=5), lambda: signal.raise_signal(signal.SIGTERM))


recipe = Recipe(data=datasets.image_folder, model=network, epochs=1, batch_size=256, precision="fp32")
'''
THAT_STOPS_SOON = "recipe = dataclasses.replace(recipe, handlers=stop_soon)\n"
SMALL_SHARED_MEMORY = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"', "sh")


def folder_of(root: Path, images: int, size: int, classes: int = 10) -> Path:
    """Return a folder of square JPEG files: of each class one, and hard links to it."""
    random = np.random.default_rng(0)
    for c in range(classes):
        folder = root / f"class{c}"
        folder.mkdir(parents=True)
        first = folder / "000000.jpg"
        Image.fromarray(random.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(first)
        for i in range(1, images // classes):
            os.link(first, folder / f"{i:06}.jpg")
    return root


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "ignite_vision", "run", *map(str, arguments), "--device", "cpu"]


def anonymous(pid: int) -> int:
    """Bytes of anonymous memory of a process now; 0 once it is gone. A memory map of a cache file is none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


def children(pid: int) -> list[int]:
    try:
        return [
            int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
        ]
    except OSError:
        return []


def peak_of(arguments: list[str], expected: int) -> int:
    """Run a command, and return the most anonymous memory that it and its workers had together, in bytes."""
    peak = 0
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(anonymous, (process.pid, *children(process.pid)))))
            time.sleep(0.01)
        assert process.returncode == expected, process.stderr.read()
    return peak


@pytest.mark.parametrize(("cache", "more", "code"), [("none", THAT_STOPS_SOON, STOPPED), ("pixels", "", 0)])
def test_peak_memory_does_not_grow_with_the_number_of_images(tmp_path, cache, more, code):
    (tmp_path / "tiny.py").write_text(RECIPE + more)
    peaks = []
    for n in (FEW, MANY):
        folder = folder_of(tmp_path / f"{n}", n, SIDE)
        run = command(tmp_path / "tiny.py", "--data", folder, "--out", tmp_path / f"run{n}", "--set", f"cache={cache}")
        peaks.append(peak_of(run, code))
    grown = peaks[1] - peaks[0]
    print(f"{cache}: {peaks[0] / 2**20:.0f} MiB for {FEW:,}; {grown / (MANY - FEW):.0f} bytes for each further image")
    assert grown < MOST


@pytest.fixture
def small_shared_memory():
    """Return what a command is begun with to see 64 MB of shared memory, as in a container."""
    if (
        shutil.which("unshare") is None
        or subprocess.run([*SMALL_SHARED_MEMORY, "true"], capture_output=True).returncode
    ):
        pytest.skip("no mount of our own here: that takes root and unshare")
    return SMALL_SHARED_MEMORY


@pytest.mark.parametrize(
    ("workers", "batch", "instead"), [(2, 64, 1), (4, 64, 1), (2, 128, 0), (4, 128, 0), (2, 16, 2)]
)
def test_workers_of_a_run_fit_into_64_mb_of_shared_memory(tmp_path, small_shared_memory, workers, batch, instead):
    (tmp_path / "tiny.py").write_text(RECIPE)
    folder = folder_of(tmp_path / "photos", 1600, 240)
    options = ("--workers", workers, "--batch-size", batch, "--set", "cache=none", "--set", "image_size=224")
    run = command(tmp_path / "tiny.py", "--data", folder, "--out", tmp_path / "run", *options)
    done = subprocess.run([*small_shared_memory, *run], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "--shm-size" in line]
    expected = [f"warning: {instead} of {workers} loader workers"] if instead < workers else []
    assert [line.partition(": shared memory")[0] for line in warnings] == expected
