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

    targets: (N,) int64. logits: (N,C) float32, which is 200 MB for 50,000 images of 1,000 classes.
    """

    ids: tuple[str, ...]
    targets: torch.Tensor
    logits: torch.Tensor
    classes: tuple[str, ...]

    @property
    def probabilities(self) -> torch.Tensor:
        """(N,C) float64; each row sums to one."""
        return self.logits.double().softmax(1)

    @property
    def labels(self) -> torch.Tensor:
        """(N,) int64: the class with the highest probability."""
        return self.logits.argmax(1)


def predict(evaluator: Engine, loader: Loader, images: Container, classes: tuple[str, ...]) -> Predictions:
    """Run an evaluator over images, and end its loader. evaluator: not run.evaluator, which recipes hook."""
    with contextlib.closing(loader):
        evaluator.run(loader)
    state: Any = evaluator.state
    ids = tuple(images.sample_id(i) for i in range(len(images)))
    return Predictions(ids, state.targets, state.logits, classes)
