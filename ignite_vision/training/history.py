"""What happened in each epoch: sums while it trains, then a row of history.jsonl and of timings.jsonl.

history.jsonl is a function of recipe, data and seed alone; the clock goes to timings.jsonl.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ignite_vision.system import distributed
from ignite_vision.system.files import append_line, json_line, read_lines, sync, write_atomically


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
        return "".join(json_line(dataclasses.asdict(row)) for row in self.rows)

    def read(self) -> None:
        """Take the rows from the file."""
        self.rows = [EpochRow(**line) for line in read_lines(self.path)]

    def rewind(self, iteration: int) -> None:
        """Drop, in the file too, every epoch after `iteration`, and what a crash left of a line."""
        self.read()
        rows = distributed.from_first(lambda: self.rows)
        self.rows = [row for row in rows if row.iteration <= iteration]
        if not distributed.is_first() or not self.path.exists():
            return
        if self.path.read_text(encoding="utf-8") != self._text():
            self._write()
