"""Other trainers, where they are installed: the same network, batch and precision, by their ordinary way."""

from __future__ import annotations

import importlib
import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.clock import wait_for
from benchmarks.tutorials import copy_of


def lightning_epoch(
    model: nn.Module, loader: DataLoader[Any], lr: float, precision: str, device: torch.device
) -> Callable[[], float]:
    """Return a function that trains an epoch of a plain LightningModule and returns its seconds, without start-up.

    Progress bar, log and checkpoints are off, as ours are in these rows. ModuleNotFoundError without Lightning.
    """
    lightning: Any = importlib.import_module("lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Plain(lightning.LightningModule):
        """A copy of the network, Adam and cross entropy."""

        def __init__(self) -> None:
            super().__init__()
            self.network = copy_of(model)
            self.begin = self.elapsed = 0.0

        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _index: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=lr)

        def on_train_epoch_start(self) -> None:
            wait_for(device)
            self.begin = time.perf_counter()

        def on_train_epoch_end(self) -> None:
            wait_for(device)
            self.elapsed = time.perf_counter() - self.begin

    plain = Plain()
    options = {
        "accelerator": "gpu" if device.type == "cuda" else "cpu",
        "devices": 1,
        "precision": {"bf16": "bf16-mixed", "fp16": "16-mixed"}.get(precision, "32-true"),
        "max_epochs": 1,
        **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
    }

    def train() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of loaders without workers
            lightning.Trainer(**options).fit(plain, loader)
        return plain.elapsed

    return train
