"""Our way, as the command does it, and the bare step that no trainer can beat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ignite_vision.engines import forward_in, prepare_training
from ignite_vision.handlers import count_training
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe import load
from ignite_vision.run import Run
from ignite_vision.training import build


def quiet(_line: str) -> None:
    """Say nothing."""


def built(spec: str, out: Path, device: str, data: Path | None = None, **overrides: object) -> Run:
    """Return a run that is ready to train, with what the command attaches to every iteration."""
    options = Options(data=data, out=out, device=device)
    run = prepare(load(spec), {name: str(value) for name, value in overrides.items()}, options, quiet)
    build(run)
    count_training(run)
    return run


def some_iterations(run: Run, iterations: int) -> Callable[[], object]:
    """Train so many iterations with the run's own trainer and loader."""
    length = min(iterations, len(run.loaders.train))
    return lambda: run.trainer.run(run.loaders.train, max_epochs=1, epoch_length=length)


def bare_step(run: Run, iterations: int) -> Callable[[], None]:
    """Return the same model, precision, optimizer and batch size on one batch that lies in memory already."""
    images, targets = prepare_training(run)(next(iter(run.loaders.train)), run.device, False)
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
