"""Seconds of forward passes with glibc as it comes, or keeping freed memory.

python -m benchmarks.allocator MODEL [keep]
"""

from __future__ import annotations

import sys
import time

import torch
from torchvision import models as zoo

from benchmarks.ours import forward_as_ours
from ignite_vision.system.device import pick_precision
from ignite_vision.system.process import keep_freed_memory


def main() -> None:
    """Print the seconds of three passes over 64 photographs, after one that does not count."""
    if "keep" in sys.argv:
        keep_freed_memory()
    images = torch.rand(64, 3, 224, 224)
    model = zoo.get_model(sys.argv[1], weights=None)
    forward = forward_as_ours(model, images, pick_precision("auto", images.device))
    forward()
    begin = time.perf_counter()
    for _ in range(3):
        forward()
    print(time.perf_counter() - begin)


if __name__ == "__main__":
    main()
