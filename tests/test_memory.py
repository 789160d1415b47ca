"""Memory and shared memory, of the real command in a process of its own: as the system counts them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

FEW, MANY = 2_000, 100_000  # images
# Measured: 161 bytes of anonymous memory for each further image with cache=none, 194 with pixels, most of them while
# the folder is looked through.
MOST = 40 << 20  # bytes that MANY may take more than FEW: the images' pixels alone are 75 MB
STOPPED = 75  # exit code of a run that a signal ended, saved

# A recipe that trains almost nothing. With cache=none it is stopped early: decoding all images takes a minute.
RECIPE = '''"""Tiny."""
import signal

from ignite.engine import Events
from torch import nn

from ignite_vision import Recipe, datasets


def network(num_classes):
    pooled = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(pooled, nn.Linear(4, num_classes))


def handlers(run):
    if run.plan.kind == "none":
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=5), lambda: signal.raise_signal(signal.SIGTERM))


recipe = Recipe(
    data=datasets.image_folder, model=network, image_size=16, epochs=1, batch_size=256, handlers=handlers
)
'''


def folder_of(root: Path, images: int, classes: int = 10) -> Path:
    """Return a folder of 16x16 JPEG files: of each class one, and hard links to it."""
    random = np.random.default_rng(0)
    for c in range(classes):
        folder = root / f"class{c}"
        folder.mkdir(parents=True)
        first = folder / "000000.jpg"
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(first)
        for i in range(1, images // classes):
            os.link(first, folder / f"{i:06}.jpg")
    return root


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "ignite_vision", *map(str, arguments)]


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
            int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
        ]
    except OSError:
        return []


def peak_of(arguments: list[str], environ: dict[str, str], expected: int) -> int:
    """Run a command, and return the most anonymous memory that it and its workers had together, in bytes."""
    peak = 0
    with subprocess.Popen(
        arguments, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(anonymous, (process.pid, *children(process.pid)))))
            time.sleep(0.01)
        assert process.returncode == expected, process.stderr.read()
    return peak


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what is anonymous")
@pytest.mark.parametrize(("cache", "code"), [("none", STOPPED), ("pixels", 0)])
def test_peak_memory_does_not_grow_with_the_number_of_images(tmp_path, cache, code):
    (tmp_path / "tiny.py").write_text(RECIPE)
    environ = {**os.environ, "OMP_NUM_THREADS": "2"}
    peaks = []
    for n in (FEW, MANY):
        data = folder_of(tmp_path / f"{n}", n)
        arguments = ("run", tmp_path / "tiny.py", "--data", data, "--out", tmp_path / f"run{n}", "--device", "cpu")
        peaks.append(peak_of(command(*arguments, "--set", f"cache={cache}"), environ, code))
    more = peaks[1] - peaks[0]
    print(f"{cache}: {peaks[0] / 2**20:.0f} MiB with {FEW:,}; {more / (MANY - FEW):.0f} bytes for each further image")
    assert more < MOST
