"""Measure what decoding large JPEGs at a fraction of their size saves, and what it changes.

python -m benchmarks.decoding PHOTOS [RUN]

PHOTOS: a folder of class folders. Each photograph taken from it is enlarged, with noise as of a sensor, and saved as a
JPEG of each size. RUN: whose model says how far its probabilities move; the run's own photographs serve best.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ignite_vision import Classifier, datasets
from ignite_vision.data.containers import Container
from ignite_vision.data.images import decode
from ignite_vision.data.preprocessing import SCALED, Canvas, Preprocessing

PHOTOS, REPEATS = 12, 3
SIZES = ((3000, 4000), (2048, 2731), (1536, 2048), (1050, 1400), (600, 800))  # height, width
NOISE, QUALITY = 6.0, 90  # of 255; of JPEG
HALF = (0.5,) * 3


def photographs(images: Container, size: tuple[int, int]) -> list[bytes]:
    """JPEGs of this (height, width), of images spread evenly over the folder."""
    random, found = np.random.default_rng(0), []
    for i in np.linspace(0, len(images) - 1, PHOTOS, dtype=int).tolist():
        picture = Image.fromarray(images[i][0].permute(1, 2, 0).numpy()).resize(size[::-1], Image.Resampling.BICUBIC)
        noisy = np.asarray(picture) + random.normal(0, NOISE, (*size, 1))
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
        found.append(file.getvalue())
    return found


def milliseconds(canvas: Canvas, files: list[bytes], scaled: bool) -> float:
    """Processor time of a photograph until it is on the canvas, the least of some rounds."""
    rounds = []
    for _ in range(REPEATS):
        begin = time.process_time()
        for data in files:
            canvas(decode(data, "photo", canvas.least if scaled else None))
        rounds.append(1e3 * (time.process_time() - begin) / len(files))
    return min(rounds)


def main() -> None:
    """Print a row for each size."""
    torch.set_num_threads(1)
    images = datasets.image_folder(Path(sys.argv[1])).train
    classifier = Classifier.load(sys.argv[2], device="cpu", precision="fp32") if len(sys.argv) > 2 else None
    canvas = Canvas(Preprocessing(channels=3, resize=256, crop=224, mean=HALF, std=HALF, reader=SCALED), 224)
    print("| pixels | file | whole | scaled | grey levels apart, mean and most | probability apart, most |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        files = photographs(images, size)
        whole = torch.stack([canvas(decode(data, "photo")) for data in files])
        scaled = torch.stack([canvas(decode(data, "photo", canvas.least)) for data in files])
        apart = (whole.float() - scaled.float()).abs()
        moved = "-"
        if classifier is not None:
            one, other = (classifier.probabilities(canvases) for canvases in (whole, scaled))
            moved = f"{np.abs(one - other).max():.4f}"
        times = [milliseconds(canvas, files, so) for so in (False, True)]
        megabytes = sum(map(len, files)) / len(files) / 1e6
        print(f"| {size[0]} x {size[1]} | {megabytes:.1f} MB | {times[0]:.1f} ms | {times[1]:.1f} ms", end=" ")
        print(f"| {apart.mean():.2f}, {apart.max():.0f} | {moved} |")


if __name__ == "__main__":
    main()
