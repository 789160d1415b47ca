"""What happened in each epoch: sums while it trains, then a row of history.jsonl and of timings.jsonl.

history.jsonl is a function of recipe, data and seed alone; the clock goes to timings.jsonl.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from ignite_vision import distributed

COUNT_AT_ONCE = 16  # batches


@dataclasses.dataclass(frozen=True)
class EpochRow:
    """One epoch. Losses are means of cross entropy in nats, accuracies fractions; nothing from the clock."""

    epoch: int
    iteration: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    lr: float
    best: bool
    stopped: bool


class History:
    """The rows so far, each appended to `history.jsonl` as its epoch ends."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: list[EpochRow] = []
        self.behind = False  # whether the file lacks rows: the disk was full

    def append(self, row: EpochRow) -> None:
        """Add an epoch to the list and the file. OSError when the file cannot be written; `settle` makes up for it."""
        self.rows.append(row)
        if distributed.is_first() and not self.behind:
            self.behind = True
            append_line(self.path, dataclasses.asdict(row))
            self.behind = False

    def settle(self) -> None:
        """Have the disk hold every row, before a checkpoint builds on it. OSError if it cannot."""
        if self.behind or (self.rows and not self.path.exists()):
            self._write()
        elif self.rows:
            sync(self.path)
        self.behind = False

    def _write(self) -> None:
        write_atomically(self.path, self._text())

    def _text(self) -> str:
        return "".join(_line(dataclasses.asdict(row)) for row in self.rows)

    def read(self) -> None:
        """Take the rows from the file."""
        self.rows = [EpochRow(**line) for line in read_lines(self.path)]

    def rewind(self, iteration: int) -> None:
        """Drop, in the file too, every epoch after `iteration`, and what a crash left of a line."""
        self.read()
        rows = distributed.agree(lambda: self.rows)
        self.rows = [row for row in rows if row.iteration <= iteration]
        if not distributed.is_first() or not self.path.exists():
            return
        if self.path.read_text(encoding="utf-8") != self._text():
            self._write()


class TrainingSums:
    """Loss and accuracy of the running epoch, summed on the device: no extra pass, no waiting.

    Not an Ignite metric: those are reset by the EPOCH_STARTED that fires again when a run goes on in mid-epoch.
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
        """Count what is right in several batches at once: four operations for each would slow small networks."""
        if self.uncounted:
            y_pred, y = map(torch.cat, zip(*self.uncounted, strict=True))
            self.correct += (y_pred.argmax(1) == y).sum()
            self.uncounted.clear()

    def means(self) -> tuple[float, float]:
        """(mean loss in nats, accuracy as a fraction) so far, over all processes. Waits for the device."""
        parts = distributed.everyones(self._numbers())
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
        return {"processes": distributed.everyones(self._numbers())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of an epoch, each process with its own; if their number is another, 0 has the sum."""
        self.reset()
        parts = state["processes"]
        if len(parts) != distributed.count():
            parts = [[sum(column) for column in zip(*parts, strict=True)]] + [[0, 0, 0, 0]] * distributed.count()
        loss, correct, self.batches, self.images = parts[distributed.rank()]
        self.loss.fill_(loss)
        self.correct.fill_(correct)


class Stopwatch:
    """Seconds of the running epoch's training part: in all, and waiting for data; and of saving since the last row."""

    def __init__(self) -> None:
        self.begin = self.batch_wanted = time.perf_counter()
        self.waited = self.seconds = self.saving = 0.0

    def attach(self, trainer: Engine) -> None:
        """Follow a trainer."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self.reset)
        trainer.add_event_handler(Events.GET_BATCH_STARTED, self.want)
        trainer.add_event_handler(Events.GET_BATCH_COMPLETED, self.have)

    def reset(self) -> None:
        """Begin an epoch."""
        self.begin, self.waited = time.perf_counter(), 0.0

    def stop(self) -> None:
        """End the epoch's training part."""
        self.seconds = time.perf_counter() - self.begin

    def want(self) -> None:
        """Note that the next batch was asked for."""
        self.batch_wanted = time.perf_counter()

    def have(self) -> None:
        """Note that the next batch is there."""
        self.waited += time.perf_counter() - self.batch_wanted


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Append one JSON object as a line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(values))


def sync(path: Path) -> None:
    """Have the disk, not only the system's memory, hold a file or directory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a JSON-lines file; a missing file is empty, a line cut off by a crash is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def write_atomically(path: Path, text: str, mark: str = "") -> None:
    """Replace a file in one step: a reader or a crash sees the old text or the new, never a half.

    mark: tells the temporary file from another process's, where several may write the same.
    """
    temporary = path.with_name(f".{path.name}{mark}.tmp")
    with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"
