"""One training: its live objects, and its directory on disk."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from torch import nn

from ignite_vision.data.preprocessing import Canvas, Preprocessing
from ignite_vision.data.splits import Splits
from ignite_vision.loading.loaders import Loaders
from ignite_vision.loading.plan import Plan
from ignite_vision.loading.sources import Source
from ignite_vision.recipe import Recipe
from ignite_vision.recipe_files import LoadedRecipe
from ignite_vision.training.history import History
from ignite_vision.training.meters import Stopwatch, TrainingSums

try:
    import fcntl
except ImportError:  # not on Windows: there, nothing keeps two runs out of one directory
    fcntl = None  # type: ignore[assignment]


@dataclasses.dataclass
class Best:
    """The best epoch so far, by validation: its score and the tensors that training changes."""

    epoch: int = 0
    score: float = float("-inf")
    weights: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {"epoch": self.epoch, "score": self.score, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a checkpoint's best epoch."""
        self.epoch, self.score, self.weights = state["epoch"], state["score"], state["weights"]


@dataclasses.dataclass
class Run:
    """The live objects of one training: what a recipe's `handlers(run)` gets.

    `trainer` and `evaluator` are Ignite's own engines: hook any event with `@run.trainer.on(Events...)`.
    trainer.state.output and evaluator.state.output hold "y_pred" (logits (N,C) float32) and "y" (targets (N,)
    int64), so that Ignite's metrics attach as they are; the trainer's also "loss". `network` is what the engines
    run: the model, or its head alone where features are cached.
    """

    loaded: LoadedRecipe
    recipe: Recipe
    overrides: dict[str, str]
    directory: Path
    data: Path
    splits: Splits
    preprocessing: Preprocessing
    canvas: Canvas
    device: torch.device
    precision: str
    workers: int
    keep_checkpoints: int
    checkpoint_every: int | None
    verify_data: bool
    model: nn.Module
    frozen: list[nn.Module]
    history: History
    say: Callable[[str], None]

    exact: bool = True  # whether every iteration so far was computed in one and the same environment
    plan: Plan = dataclasses.field(init=False)
    network: nn.Module = dataclasses.field(init=False)
    sources: dict[str, Source] = dataclasses.field(default_factory=dict)
    hashes: dict[str, str] = dataclasses.field(default_factory=dict)
    loaders: Loaders = dataclasses.field(init=False)
    optimizer: torch.optim.Optimizer = dataclasses.field(init=False)
    trainer: Engine = dataclasses.field(init=False)
    evaluator: Engine = dataclasses.field(init=False)
    save: Callable[[], None] = dataclasses.field(init=False)
    sums: TrainingSums = dataclasses.field(init=False)
    stopwatch: Stopwatch = dataclasses.field(default_factory=Stopwatch)
    best: Best = dataclasses.field(default_factory=Best)
    persisted: dict[str, Any] = dataclasses.field(default_factory=dict)
    at_end: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)  # closed when fit ends

    def __post_init__(self) -> None:
        self.sums = TrainingSums(self.device)

    @property
    def views(self) -> int:
        """Views of each training image that a feature cache holds."""
        return self.recipe.views or 1 if self.recipe.augment else 1

    def persist(self, name: str, holder: Any) -> None:
        """Put a handler's own state into every checkpoint: `holder` has state_dict and load_state_dict."""
        if name in self.persisted:
            raise ValueError(f"'{name}' is persisted already")
        self.persisted[name] = holder
