"""What a model says of images, by an Ignite evaluator over batches of one fixed shape."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import torch
from ignite.engine import Engine

from ignite_vision.data.containers import Container
from ignite_vision.loading.loaders import Loader


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What the model says of images, in their order.

    targets: (N,) int64. logits: (N,C) float32, which is 200 MB for 50,000 images of 1,000 classes. temperature: of the
    model, fitted on validation; it divides the logits.
    """

    ids: tuple[str, ...]
    targets: torch.Tensor
    logits: torch.Tensor
    classes: tuple[str, ...]
    temperature: float = 1.0

    @property
    def probabilities(self) -> torch.Tensor:
        """(N,C) float64, calibrated; each row sums to one."""
        return calibrated(self.logits, self.temperature)

    @property
    def labels(self) -> torch.Tensor:
        """(N,) int64: the class with the highest probability."""
        return self.logits.argmax(1)


def calibrated(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """(N,C) logits -> (N,C) float64 probabilities: the one formula of predictions.csv, predict, export and serve."""
    return (logits.double() / temperature).softmax(1)


def predict(
    evaluator: Engine, loader: Loader, images: Container, classes: tuple[str, ...], temperature: float = 1.0
) -> Predictions:
    """Run an evaluator over images, and end its loader. evaluator: not run.evaluator, which recipes hook."""
    with contextlib.closing(loader):
        evaluator.run(loader)
    state: Any = evaluator.state
    ids = tuple(images.sample_id(i) for i in range(len(images)))
    return Predictions(ids, state.targets, state.logits, classes, temperature)
