"""Exported files against torch and against each other, one thread each: the rows of `--only export`.

python -m benchmarks.exported RUN [--data DIR]    # accuracy in fp32 and in int8, of all test images
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.clock import Row, ratios
from benchmarks.ours import quiet
from ignite_vision import Classifier
from ignite_vision.data.containers import Container
from ignite_vision.inference.export import Request, export
from ignite_vision.inference.onnx_model import batch_of, session
from ignite_vision.prepare import Options
from ignite_vision.reporting import subject_of
from ignite_vision.run_directory import RunDirectory

LARGE = (3000, 4000)
PHOTO = (375, 500)


def rows_of(run: Path, device: torch.device) -> list[Row]:
    """Measure the files of a run with the images that it was trained on. Writes them beside its model."""
    fp32, int8 = export(Request(run, force=True)), export(Request(run, int8=True, force=True))
    assert fp32.proof and int8.proof
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    whole, small = session(fp32.path, 1), session(int8.path, 1)
    classifier = Classifier.load(run, precision="fp32", device="cpu")
    side = classifier.preprocessing.resize
    square, photo, large = (picture(*size) for size in ((side, side), PHOTO, LARGE))
    sizes = f"{int8.proof.bytes / fp32.proof.bytes:.2f} of the bytes"
    note = f"accuracy {int8.proof.accuracy}, in fp32 {int8.proof.before}; {sizes}"
    rows = [Row("ONNX in int8, whole graph", "ONNX in fp32", *pair(small, whole, square, device), "≥ 1.6", note)]
    note = f"probabilities differ by {fp32.proof.difference:.1e} at most on {fp32.proof.images} test images"
    torch_ask = partial(asked, classifier)
    rows.append(Row("ONNX in fp32, 375x500", "torch in fp32", *pair(whole, torch_ask, photo, device), "≥ 1", note))
    rows.append(Row("ONNX in fp32, 256x256", "the same of 3000x4000", *costs(whole, square, large, device), ""))
    torch.set_num_threads(threads)
    return rows


def picture(height: int, width: int) -> torch.Tensor:
    """(3,height,width) uint8 noise."""
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def asked(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    """Return what our own predictor says of (n,h,w,3) uint8."""
    canvases = classifier.canvas(torch.from_numpy(images).permute(0, 3, 1, 2))
    return classifier.probabilities(canvases, (len(images),))


Ask = Callable[[np.ndarray], np.ndarray]


def pair(ours: Ask, theirs: Ask, image: torch.Tensor, device: torch.device) -> tuple[float, str]:
    """Ask both about one image, in turn."""
    batch = batch_of(image)
    return ratios(lambda: [ours(batch) for _ in range(5)], lambda: [theirs(batch) for _ in range(5)], device)


def costs(ask: Ask, small: torch.Tensor, large: torch.Tensor, device: torch.device) -> tuple[float, str]:
    """Ask about a small and a large image, in turn."""
    one, other = batch_of(small), batch_of(large)
    return ratios(lambda: ask(one), lambda: ask(other), device)


def decided(ask: Ask, images: Container) -> np.ndarray:
    """(n,) bool: whether the decision on each image is right."""
    pairs = (images[i] for i in range(len(images)))
    return np.array([ask(batch_of(image))[0].argmax() == target for image, target in pairs])


def main() -> None:
    """Print accuracy in fp32 and in int8 on all test images of a run; the files are written beside its model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    subject = subject_of(RunDirectory(options.run), Options(data=options.data, device="cpu"), quiet)
    files = [export(Request(options.run, int8=int8, data=options.data, force=True)).path for int8 in (False, True)]
    fp32, int8 = (decided(session(file), subject.splits.test) for file in files)
    print(f"{len(fp32):,} test images: {fp32.mean():.4f} right in fp32, {int8.mean():.4f} in int8")
    print(f"{(fp32 & ~int8).sum()} lost, {(int8 & ~fp32).sum()} won")


if __name__ == "__main__":
    main()
