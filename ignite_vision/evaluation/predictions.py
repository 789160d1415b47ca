"""Predictions of a split, every number made from them, and the files that hold these numbers."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import torch

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.loading.features import source_of
from ignite_vision.loading.loaders import eval_loader
from ignite_vision.models.model_file import load_weights, read_header
from ignite_vision.training.engines import make_evaluator
from ignite_vision.training.run import Run


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What the model says of a split, in the split's order.

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


def predict_split(run: Run, split: str) -> Predictions:
    """Run an evaluator of its own over a split: nothing that a recipe hooked to run.evaluator fires."""
    images = getattr(run.splits, split)
    evaluator = make_evaluator(run)
    with contextlib.closing(eval_loader(run, source_of(run, split), images.targets)) as loader:
        evaluator.run(loader)
    state: Any = evaluator.state
    ids = tuple(images.sample_id(i) for i in range(len(images)))
    return Predictions(ids, state.targets, state.logits, run.splits.classes)


def use_best_weights(run: Run) -> None:
    """Load RUN/model.safetensors into the run's model."""
    path = run.directory / "model.safetensors"
    if not path.is_file():
        hint = f"Train it first: ignite-vision resume {run.directory}"
        raise UserError("this run has no model yet", run.directory, hint)
    header = read_header(path)
    if header["classes"] != list(run.splits.classes):
        raise UserError("model.safetensors has other classes than the data", path, code=DAMAGED)
    load_weights(run.model, path)
