"""Our way, as the command does it, and the bare step that no trainer can beat."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms.v2.functional import resize

from benchmarks.clock import seconds
from benchmarks.tutorials import AsPictures
from ignite_vision.jobs import predict_split
from ignite_vision.loading.batches import eval_batch, train_batch
from ignite_vision.loading.plan import Plan, Rows, choose
from ignite_vision.loading.sources import Resident
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe_files import load
from ignite_vision.training.engines import forward_in, prepare_training
from ignite_vision.training.handlers import count_training
from ignite_vision.training.meters import Meters
from ignite_vision.training.run import Run, build


def quiet(_line: str) -> None:
    """Say nothing."""


@dataclasses.dataclass(frozen=True)
class Built:
    """A run that is ready to train, with what the command attaches to every iteration."""

    run: Run
    meters: Meters

    @property
    def batch(self) -> int:
        """Images of an iteration."""
        return train_batch(self.run.recipe, len(self.run.splits.train))

    def waiting(self) -> str:
        """Say what share of the last epoch was spent waiting for data, as timings.jsonl has it."""
        watch = self.meters.stopwatch
        return f"{watch.waited / watch.seconds:.1%} of it waiting for data"


def built(spec: str, out: Path, device: str, data: Path | None = None, **overrides: object) -> Built:
    """Build a run as the command does."""
    options = Options(data=data, out=out, device=device)
    prepared = prepare(load(spec), {name: str(value) for name, value in overrides.items()}, options, quiet)
    run = build(prepared, choose(prepared))
    return Built(run, count_training(run))


def pictures(run: Run, split: str, n: int | None = None) -> AsPictures:
    """Return the first n images of a split, all of them by default, for the tutorial's way. They lie in memory."""
    source = run.rows[split]
    assert isinstance(source, Resident)
    targets = run.splits[split].targets[:n]
    return AsPictures(source[0, np.arange(len(targets))].cpu(), targets)


def accuracy(run: Run) -> float:
    """Share of the test images that the model is right about now."""
    predictions = predict_split(run, "test")
    return (predictions.labels == predictions.targets).double().mean().item()


def extraction(folder: Path, out: Path, device: torch.device) -> tuple[int, int, float, float, str]:
    """Compute DenseNet-121's features of a folder's training images.

    Returns (images, images in a batch, seconds, seconds of the forward passes alone, precision).
    """
    overrides = {"weights": "none", "cache": "features"}
    run = prepare(load("caltech256"), overrides, Options(data=folder, out=out, device=device.type), quiet)
    batch, images = eval_batch(run.recipe, run.splits), len(run.splits.train)
    forward = forward_as_ours(run.model, torch.rand(batch, 3, 224, 224, device=device), run.precision)
    forward()
    elapsed = seconds(lambda: Rows(run, Plan("features", ""))["train"], device)
    bare = seconds(lambda: [forward() for _ in range(4)], device) / 4
    return images, batch, elapsed, bare * -(-images // batch), run.precision


def decoding_alone(paths: list[Path], side: int) -> Callable[[], None]:
    """Return torchvision's decoder and antialiased resize on files that are read already."""
    files = [read_file(str(path)) for path in paths]

    def decode() -> None:
        for file in files:
            resize(decode_image(file, mode=ImageReadMode.RGB), [side], antialias=True)

    return decode


def some_iterations(run: Run, iterations: int) -> Callable[[], object]:
    """Train so many iterations with the run's own trainer and loader."""
    length = min(iterations, len(run.loaders.train))
    return lambda: run.trainer.run(run.loaders.train, max_epochs=1, epoch_length=length)


def bare_step(run: Run, iterations: int) -> Callable[[], None]:
    """Return the same model, precision, optimizer and batch size on one batch that lies in memory already."""
    images, targets = prepare_training(run, run.plan.kind)(next(iter(run.loaders.train)), run.device, False)
    forward = forward_in(run.precision, run.device, [])
    length = min(iterations, len(run.loaders.train))

    def train() -> None:
        run.model.train()
        for _ in range(length):
            run.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(forward(run.model, images), targets)
            loss.backward()
            run.optimizer.step()

    return train


def forward_as_ours(model: nn.Module, images: torch.Tensor, precision: str) -> Callable[[], None]:
    """Return an evaluation pass as `evaluate` makes it: channels_last, autocast."""
    model = model.eval().to(images.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = images.contiguous(memory_format=torch.channels_last)
    forward = forward_in(precision, images.device, [])

    def run_forward() -> None:
        with torch.no_grad():
            forward(model, images)

    return run_forward
