"""Pictures that look like photographs to a program: structure at several scales, each seed another."""

import contextlib
import os
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed, size=(160, 120)):
    """A picture with structure at several scales, as photographs have it."""
    random = np.random.default_rng(seed)
    layers = []
    for cells in (3, 6, 12, 24):
        noise = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        layers.append(np.asarray(noise.resize(size, Image.Resampling.BICUBIC), dtype=np.float64) / cells)
    total = sum(layers)
    smooth = 200 * (total - total.min()) / np.ptp(total)
    return Image.fromarray((smooth + random.integers(0, 56, smooth.shape[:2])[..., None]).astype(np.uint8))


def save(folder: Path, name: str, image: Image.Image, **options) -> Path:
    """Save a picture as FOLDER/NAME, with the folders that it needs."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def write_pictures(folder: Path, classes: int = 3, each: int = 10, first: int = 0) -> Path:
    """Write JPEGs as FOLDER/a/00.jpg, all different. Returns the folder."""
    for c in range(classes):
        for i in range(each):
            seed = first + 1000 * c + i
            size = 90 + seed * 7 % 40, 90 + seed * 11 % 40
            save(folder, f"{'abcdefgh'[c]}/{i:02}.jpg", picture(seed, size), quality=80 + seed * 3 % 15)
    return folder


@contextlib.contextmanager
def deep_folder(folder):
    """Within, an empty image lies 1,200 folders deep in this one, and the working directory is what it was."""
    before = Path.cwd()
    folder.mkdir()
    os.chdir(folder)
    for _ in range(1200):
        Path("d").mkdir()
        os.chdir("d")
    Path("x.jpg").touch()
    os.chdir(before)
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)  # pytest cannot
