"""Logistic regression as a training: an epoch is one strength of weight decay, and its one iteration solves it.

After each the head is a plain linear layer, so evaluation, checkpoints and the best epoch know of no difference.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from torch import nn

from ignite_vision.loading.batches import Batch, EvalBatches
from ignite_vision.loading.loaders import Loader, make_loader
from ignite_vision.loading.plan import Rows
from ignite_vision.models.head import find_head
from ignite_vision.prepare import Prepared
from ignite_vision.system import distributed
from ignite_vision.training.engines import forward_in, prepare_features
from ignite_vision.training.logistic import Regression, stratified_folds, strength_of

FEW = 200  # validation images; with fewer, one of them is more than half a point of accuracy


class Strengths(torch.optim.Optimizer):
    """Puts the best head of a strength into a linear layer; each step has a weaker one than the step before.

    Its state is the heads that the next step starts from, so that a training that resumes has the same bits. With few
    validation images there are more heads, each fitted to all but a fold of the training and validation images: what
    they say of the fold judges the strength. Process 0 solves, for all.
    """

    def __init__(self, layer: nn.Linear, targets: list[torch.Tensor], features: Callable[[], list[torch.Tensor]]):
        """Take the targets, and a function for the features, of the training images.

        Where the validation images are few, of these as well.
        """
        super().__init__([layer.weight, layer.bias], {"lr": 1.0, "step": 0, "settled": False})
        self.layer, self.features = layer, features
        self.few = len(targets) > 1
        self.targets = torch.cat(targets).to(layer.weight.device)
        self.folds = stratified_folds(self.targets)
        fitted = [torch.arange(len(self.targets), device=self.folds.device) < len(targets[0])]
        self.used = torch.stack(fitted + [self.folds != fold for fold in self.folds.unique() if self.few])

    @property
    def strength(self) -> float:
        """Of the last step: what scikit-learn calls 1 / C."""
        return strength_of(self.param_groups[0]["step"])

    @property
    def settled(self) -> bool:
        """Whether the last step left every head as it was: weaker strengths would, too."""
        return bool(self.param_groups[0]["settled"])

    @cached_property
    def regression(self) -> Regression:
        """The features, standardised over the training images: they take memory, so process 0 alone has them."""
        rows = torch.cat(self.features())
        return Regression(rows, self.targets, self.layer.out_features, self.used)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Solve the next strength and put the head that is fitted to the training images into the layer."""
        del closure
        self.param_groups[0]["step"] += 1
        heads, weight, bias = distributed.from_first(self._solved)
        heads, before = heads.to(self.layer.weight.device), self.state[self.layer.weight].get("heads")
        self.param_groups[0]["settled"] = before is not None and heads.equal(before)
        self.state[self.layer.weight]["heads"] = heads
        with torch.no_grad():
            self.layer.weight.copy_(weight)
            self.layer.bias.copy_(bias)

    def _solved(self) -> tuple[torch.Tensor, ...]:
        before = self.state[self.layer.weight].get("heads")
        heads = self.regression.solve(self.regression.zeros() if before is None else before, self.strength)
        return tuple(tensor.cpu() for tensor in (heads, *self.regression.folded(heads)))

    def held_out(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (logits (N,C) float32, targets (N,)) of all images, each by a head that was not fitted to it.

        On the CPU, in every process.
        """
        return distributed.from_first(self._held_out), self.targets.cpu()

    def _held_out(self) -> torch.Tensor:
        logits = self.regression.logits(self.state[self.layer.weight]["heads"])
        return logits[torch.arange(len(logits)), 1 + self.folds].cpu()


def is_judged_by_folds(prepared: Prepared) -> bool:
    """Whether the validation images are too few to judge strengths."""
    return len(prepared.splits.val) < FEW


def by_logistic_regression(
    prepared: Prepared, network: nn.Module, rows: Rows
) -> tuple[torch.optim.Optimizer, Engine, Loader]:
    """Make what trains a head by logistic regression: an epoch is one iteration, on all training images."""
    splits, names = prepared.splits, ["train", "val"] if is_judged_by_folds(prepared) else ["train"]
    targets = [splits[name].targets for name in names]
    layer: Any = find_head(network)[1]

    def features() -> list[torch.Tensor]:
        return [rows[name][0, np.arange(len(splits[name]))].to(prepared.device) for name in names]

    optimizer = Strengths(layer, targets, features)
    every = [(0, np.arange(len(splits.train)))]
    loader = make_loader(EvalBatches(rows["train"], targets[0], len(splits.train)), every, workers=0, pin=False)
    return optimizer, make_solver(prepared, network, optimizer), loader


def make_solver(prepared: Prepared, network: nn.Module, optimizer: Strengths) -> Engine:
    """Build the engine that solves one strength in each iteration. Its output is that of a supervised trainer."""
    forward = forward_in(prepared.precision, prepared.device, [])

    def solve(_engine: Engine, batch: Batch) -> dict[str, torch.Tensor]:
        features, targets = prepare_features(batch, prepared.device, True)
        optimizer.step()
        network.eval()
        with torch.no_grad():
            logits = forward(network, features)
            loss = nn.functional.cross_entropy(logits, targets)
        return {"y_pred": logits, "y": targets, "loss": loss}

    return Engine(solve)
