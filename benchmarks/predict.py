"""Measure `Classifier.predict` against a loop of Pillow and eager float32, and its memory over many images.

    OMP_NUM_THREADS=1 python -m benchmarks.predict [--images 64] [--many 10000]

Times are processor seconds of all threads, so that other programs on the machine do not count: ratios per core. Needs
no network; reads photographs from IGNITE_VISION_TEST_DATA. The weights are random, which takes the same time.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from benchmarks.clock import Row, ratios_of
from ignite_vision import Classifier, models
from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.models.model_file import write_model
from ignite_vision.system.device import has_bf16
from ignite_vision.system.process import tune_processor

PHOTOGRAPHS = "caltech256/256_ObjectCategories"
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
EVERY = 100  # of so many images one is broken
CLASSES = 10


def bundle(folder: Path, model: str, preprocessing: Preprocessing) -> Path:
    """Write a model file of random weights."""
    torch.manual_seed(0)
    path = folder / f"{model}.safetensors"
    header = {
        "task": "single-label",
        "architecture": models.architecture(model),
        "num_classes": CLASSES,
        "classes": [str(label) for label in range(CLASSES)],
        "preprocessing": preprocessing.to_dict(),
        "precision": "fp32",
        "temperature": 1.0,
        "batch_size": 16,
    }
    write_model(path, models.build(model, CLASSES).state_dict(), header)
    return path


def plain_loop(network: nn.Module, paths: list[Path]) -> None:
    """Answer as most programs do: an image at a time, by Pillow and torchvision's transforms."""
    resize, crop = transforms.Resize(256), transforms.CenterCrop(224)
    steps = [resize, crop, transforms.ToTensor(), transforms.Normalize(**IMAGENET)]
    prepare = transforms.Compose(steps)
    with torch.no_grad():
        for path in paths:
            image = Image.open(path).convert("RGB")
            network(prepare(image)[None]).softmax(1)


def predict_all(classifier: Classifier, paths: list[Path]) -> None:
    """Answer as the command does."""
    for answer in classifier.predict(paths):
        assert answer.error is None


def processor_seconds(work: Callable[[], object]) -> float:
    """Processor time of one call, of all threads."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def speed(folder: Path, paths: list[Path]) -> list[Row]:
    """Time mobilenet_v2 on photographs, in each precision that this processor has."""
    preprocessing = Preprocessing(channels=3, resize=256, crop=224, **IMAGENET)  # type: ignore[arg-type]
    path, rows = bundle(folder, "mobilenet_v2", preprocessing), []
    theirs = Classifier.load(path, device="cpu").network.to(memory_format=torch.contiguous_format)
    for precision, target in (("bf16", "≥ 1.8"), ("fp32", "≥ 1.0")):
        if precision == "bf16" and not has_bf16(torch.device("cpu")):
            print("this processor has no bf16: no row about it")
            continue
        mine = Classifier.load(path, device="cpu", precision=precision)
        ours = partial(processor_seconds, partial(predict_all, mine, paths))
        found = ratios_of(ours, partial(processor_seconds, partial(plain_loop, theirs, paths)), rounds=3)
        note = f"{ours() / len(paths) * 1e3:.1f} ms an image"
        rows.append(
            Row(f"predict, mobilenet_v2 in {precision}, per core", "Pillow and eager fp32", *found, target, note)
        )
    return rows


def memory(folder: Path, paths: list[Path], many: int) -> str:
    """Predict many images, one in a hundred of them broken, and say how anonymous memory goes."""
    small = Preprocessing(channels=3, resize=32, crop=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    classifier = Classifier.load(bundle(folder, "cifar10_cnn", small), device="cpu")
    broken = folder / "broken.jpg"
    broken.write_bytes(paths[0].read_bytes()[:500])
    sizes, errors = [], 0
    for i, answer in enumerate(classifier.predict(with_broken(paths, broken, many))):
        errors += answer.error is not None
        if (i + 1) % max(many // 10, 1) == 0:
            sizes.append(anonymous_memory())
    shown = ", ".join(f"{size / 1e6:,.0f}" for size in sizes)
    spread = max(sizes) / min(sizes) - 1
    return f"{many:,} images, {errors:,} of them broken: {shown} MB anonymous memory at each tenth (+{spread:.1%})"


def with_broken(paths: list[Path], broken: Path, many: int) -> Iterator[Path]:
    """Yield `many` paths, the same again and again."""
    endless = itertools.cycle(paths)
    return (broken if i % EVERY == EVERY - 1 else next(endless) for i in range(many))


def anonymous_memory(process: int | str = "self") -> int:
    """Bytes of a process that no file holds; 0 for one that has ended."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon")), 0)


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64, help="photographs that are timed")
    parser.add_argument("--many", type=int, default=10_000, help="images over which memory is watched")
    options = parser.parse_args()
    data = os.environ.get("IGNITE_VISION_TEST_DATA")
    if not data:
        parser.error("IGNITE_VISION_TEST_DATA is not set: there are no photographs")
    photographs = sorted((Path(data) / PHOTOGRAPHS).rglob("*.jpg"))
    tune_processor()
    with tempfile.TemporaryDirectory() as folder:
        print(memory(Path(folder), photographs, options.many), flush=True)
        for row in speed(Path(folder), photographs[:: max(1, len(photographs) // options.images)]):
            print(row.markdown(), flush=True)


if __name__ == "__main__":
    main()
