"""What is right, and what makes one epoch better than another: defined here, once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

SCORE_WEIGHT = 1e9  # one step of any score moves `rank` by more than any difference in loss does


def right(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(N,C) and (N,) class indices, or (N,C) soft targets -> (N,) bool: whether the likeliest class is the target's."""
    labels = targets.argmax(1) if targets.ndim == 2 else targets
    return logits.argmax(1) == labels


def loss_and_accuracy(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Mean cross entropy in nats, summed in float64 in the images' order, and the fraction that is right."""
    loss = nn.functional.cross_entropy(logits.double(), targets)
    return {"loss": loss.item(), "accuracy": right(logits, targets).sum().item() / len(targets)}


def balanced_accuracy(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Mean recall over the classes that have images."""
    correct, of_class, _ = _counts(logits, targets)
    there = of_class > 0
    return (correct[there] / of_class[there]).mean().item()


def macro_f1(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Mean F1 over the classes that have images; 0 for a class that is never predicted."""
    correct, of_class, predicted = _counts(logits, targets)
    there = of_class > 0
    return (2 * correct[there] / (of_class[there] + predicted[there])).mean().item()


def _counts(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(right, images, predictions) of each class, float64."""
    classes, labels = logits.shape[1], logits.argmax(1)
    hits = targets[right(logits, targets)]
    counts = (torch.bincount(values, minlength=classes).double() for values in (hits, targets, labels))
    correct, of_class, predicted = counts
    return correct, of_class, predicted


SCORES: dict[str, Callable[[torch.Tensor, torch.Tensor], float]] = {
    "accuracy": lambda logits, targets: loss_and_accuracy(logits, targets)["accuracy"],
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "loss": lambda logits, targets: loss_and_accuracy(logits, targets)["loss"],
}


def rank(score: str, value: float, loss: float, n: int) -> float:
    """One number that orders epochs, as Ignite's handlers compare: the better score, then the lower loss. NaN is last.

    value: of the named score; loss: validation loss in nats; n: validation images.
    """
    if not (math.isfinite(loss) and math.isfinite(value)):
        return float("-inf")
    if score == "loss":
        return -value
    weight = n if score == "accuracy" else SCORE_WEIGHT
    return value * weight + 1 / (2 + 2 * loss)


@dataclasses.dataclass
class Best:
    """The best epoch so far, by validation: its rank, the tensors that training changes, the model's extra state."""

    epoch: int = 0
    score: float = float("-inf")
    weights: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {"epoch": self.epoch, "score": self.score, "weights": self.weights, "extra": self.extra}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a checkpoint's best epoch."""
        self.epoch, self.score, self.weights = state["epoch"], state["score"], state["weights"]
        self.extra = state["extra"]
