"""Sums and times of the running epoch."""

from __future__ import annotations

import time
from typing import Any

import torch
from ignite.engine import Engine, Events

from ignite_vision.system import distributed
from ignite_vision.training.scores import right

COUNT_AT_ONCE = 16  # batches


class TrainingSums:
    """Loss and accuracy of the running epoch, summed on the device: no extra pass, no waiting.

    Not an Ignite metric: four operations for each batch would slow small networks.
    """

    def __init__(self, device: torch.device):
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.batches = 0
        self.images = 0
        self.uncounted: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(self, trainer: Engine) -> None:
        """Add one batch."""
        output: Any = trainer.state.output
        self.loss += output["loss"]
        self.uncounted.append((output["y_pred"], output["y"]))
        if len(self.uncounted) == COUNT_AT_ONCE:
            self._count()
        self.batches += 1
        self.images += len(output["y"])

    def _count(self) -> None:
        """Count what is right in several batches at once."""
        if self.uncounted:
            y_pred, y = map(torch.cat, zip(*self.uncounted, strict=True))
            self.correct += right(y_pred, y).sum()
            self.uncounted.clear()

    def means(self) -> tuple[float, float]:
        """(mean loss in nats, accuracy as a fraction) so far, over all processes. Waits for the device."""
        parts = distributed.gather(self._numbers())
        loss, correct, batches, images = (sum(column) for column in zip(*parts, strict=True))
        return loss / max(batches, 1), correct / max(images, 1)

    def _numbers(self) -> list[float]:
        self._count()
        return [self.loss.item(), self.correct.item(), self.batches, self.images]

    def reset(self) -> None:
        """Begin a new epoch."""
        self.uncounted.clear()
        self.loss.zero_()
        self.correct.zero_()
        self.batches = self.images = 0

    def state_dict(self) -> dict[str, Any]:
        """Every process's numbers, since a sum of sums would round otherwise. Every process must call this."""
        return {"processes": distributed.gather(self._numbers())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume within an epoch, each process with its own; if their number is another, 0 has the sum."""
        self.reset()
        parts = state["processes"]
        if len(parts) != distributed.count():
            parts = [[sum(column) for column in zip(*parts, strict=True)]] + [[0, 0, 0, 0]] * distributed.count()
        loss, correct, self.batches, self.images = parts[distributed.rank()]
        self.loss.fill_(loss)
        self.correct.fill_(correct)


class Stopwatch:
    """Seconds of the running epoch's training part: in all, and waiting for data; and the images in them.

    After a resume within an epoch: of what is left of it.
    """

    def __init__(self, sums: TrainingSums) -> None:
        self.sums = sums
        self.begin = self.batch_wanted = time.perf_counter()
        self.waited = self.seconds = 0.0
        self.before = self.images = 0

    def attach(self, trainer: Engine) -> None:
        """Follow a trainer."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self.reset)
        trainer.add_event_handler(Events.GET_BATCH_STARTED, self.want)
        trainer.add_event_handler(Events.GET_BATCH_COMPLETED, self.have)

    def reset(self) -> None:
        """Begin an epoch."""
        self.begin, self.waited, self.before = time.perf_counter(), 0.0, self.sums.images

    def stop(self) -> None:
        """End the epoch's training part."""
        self.seconds, self.images = time.perf_counter() - self.begin, self.sums.images - self.before

    def want(self) -> None:
        """Note that the next batch was asked for."""
        self.batch_wanted = time.perf_counter()

    def have(self) -> None:
        """Note that the next batch is there."""
        self.waited += time.perf_counter() - self.batch_wanted


class Meters:
    """Both, of one training."""

    def __init__(self, device: torch.device):
        self.sums = TrainingSums(device)
        self.stopwatch = Stopwatch(self.sums)
