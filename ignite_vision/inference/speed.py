"""How fast a model answers here: from pixels to probabilities, by the number of images that are asked about at once."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable

import torch

from ignite_vision.inference.classifier import Classifier

HEIGHT, WIDTH = 375, 500  # pixels of the usual photograph of ImageNet
WARM_UP, FEWEST, SECONDS = 2, 5, 2.0  # calls before, and at least; how long calls go on


@dataclasses.dataclass(frozen=True)
class Speed:
    """milliseconds: of a call with `batch` images, the median; p95: of the slowest twentieth, at least."""

    batch: int
    milliseconds: float
    p95: float
    images_per_second: float


def speed(classifier: Classifier, batch: int, seconds: float = SECONDS) -> Speed:
    """Measure calls with so many images of 375x500 pixels, resizing included and decoding not, for so many seconds."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, HEIGHT, WIDTH), dtype=torch.uint8, generator=generator)
    return timed(lambda: classifier.probabilities(classifier.canvas(images), (batch,)), batch, seconds)


def timed(call: Callable[[], object], batch: int, seconds: float) -> Speed:
    """Call again and again: after WARM_UP calls that do not count, at least FEWEST times, for about so many seconds."""
    for _ in range(WARM_UP):
        call()
    spent: list[float] = []
    while len(spent) < FEWEST or sum(spent) < seconds:
        begin = time.perf_counter()
        call()
        spent.append(time.perf_counter() - begin)
    median = statistics.median(spent)
    return Speed(batch, 1e3 * median, 1e3 * sorted(spent)[int(0.95 * len(spent))], batch / median)
