"""Exported files against torch and against each other, one thread each: the rows of `--only export`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.clock import Row, ratios
from ignite_vision import Classifier
from ignite_vision.inference.export import Request, export
from ignite_vision.inference.onnx_model import batch_of, session

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
