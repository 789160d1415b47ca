"""What happened in each epoch: a row of history.jsonl, a function of recipe, data and seed alone.

The clock goes to timings.jsonl.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.system import distributed
from ignite_vision.system.files import append_line, read_lines, sync, write_atomically

DEFAULT_SCORE = "accuracy"
COUNTS = ("epoch", "iteration")
LARGEST = 1e300  # of any number: what is larger comes from no training
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_/.-]*")  # of a recorded number: a key, and a tag of TensorBoard's


@dataclasses.dataclass(frozen=True)
class EpochRow:
    """One epoch. Losses are means of cross entropy in nats, accuracies fractions; nothing from the clock.

    score: what made an epoch the best; the file has it where it is not accuracy. recorded: further numbers by name, as
    `History.record` got them.
    """

    epoch: int
    iteration: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    lr: float
    best: bool
    stopped: bool
    score: str = DEFAULT_SCORE
    recorded: dict[str, float] = dataclasses.field(default_factory=dict)

    def to_line(self) -> dict[str, Any]:
        """JSON-plain: the recorded numbers beside the others; None for what is not finite, as JSON has no such."""
        line = {name: getattr(self, name) for name in FIELDS} | self.recorded
        if self.score != DEFAULT_SCORE:
            line["score"] = self.score
        return {name: _finite_or_none(value) for name, value in line.items()}

    @classmethod
    def from_line(cls, line: dict[str, Any]) -> EpochRow:
        """Inverse of `to_line`; what was not finite is NaN. ValueError or KeyError for what `to_line` never gave."""
        if not isinstance(line, dict):
            raise ValueError(f"{str(line)[:40]!r} is no epoch")
        for name, value in line.items():
            if not isinstance(value, str if name == "score" else float | int | None):
                raise ValueError(f"{name} is {str(value)[:40]!r}")
            if isinstance(value, float | int) and not abs(value) < LARGEST:
                raise ValueError(f"{name} is beyond all measure")
            if name in COUNTS and type(value) is not int:
                raise ValueError(f"{name} is {str(value)[:40]!r}")
        values: dict[str, Any] = {name: math.nan if value is None else value for name, value in line.items()}
        fields = {name: values.pop(name) for name in FIELDS}
        return cls(**fields, score=values.pop("score", DEFAULT_SCORE), recorded=values)


FIELDS = tuple(field.name for field in dataclasses.fields(EpochRow) if field.name not in ("score", "recorded"))


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


class History:
    """The rows so far, and whether all of them were computed in one and the same environment (`exact`)."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: list[EpochRow] = []
        self.exact = True
        self.shown: set[str] = set()  # names of recorded numbers that the progress line has
        self._pending: dict[str, float] = {}  # recorded for a row that is yet to come
        self._open = False  # whether the last row still takes numbers
        self.behind = False  # whether the file is not up to date: the next save makes up for it

    def record(self, name: str, value: float, show: bool = False) -> None:
        """Add a number to the row of the running epoch, or of the one that was just validated.

        It is in history.jsonl, in TensorBoard and in the curves, and on the progress line if show. Resumed exactly.
        ValueError for the name of a column that there is, or one that is no name.
        """
        if name in (*FIELDS, "score") or not NAME.fullmatch(name):
            raise ValueError(
                f"'{name}' cannot be recorded: it is {'no valid name' if not NAME.fullmatch(name) else 'a column'}"
            )
        if show:
            self.shown.add(name)
        if self._open:
            self.rows[-1].recorded[name] = float(value)
        else:
            self._pending[name] = float(value)

    def begin_row(self, row: EpochRow) -> None:
        """Add an epoch; until `end_row` it takes recorded numbers."""
        row.recorded.update(self._pending)
        self._pending.clear()
        self.rows.append(row)
        self._open = True

    def end_row(self, stopped: bool) -> None:
        """Write the epoch to the file. OSError when it cannot be written; `settle` makes up for it."""
        self.rows[-1] = dataclasses.replace(self.rows[-1], stopped=stopped)
        self._open = False
        if distributed.is_first() and not self.behind:
            self.behind = True
            append_line(self.path, self.rows[-1].to_line())
            self.behind = False

    def end_with_last_row(self) -> None:
        """Note that the last epoch ended the run; the file has it with the next save."""
        self.rows[-1] = dataclasses.replace(self.rows[-1], stopped=True)
        self.behind = True

    def is_validated(self, iteration: int) -> bool:
        """Whether the epoch that ended with this iteration has its row, complete."""
        return bool(self.rows) and self.rows[-1].iteration == iteration and not self._open

    def is_finished(self, epochs: int) -> bool:
        """Whether that many epochs are done, or patience or a handler ended the run before."""
        return bool(self.rows) and (self.rows[-1].stopped or self.rows[-1].epoch >= epochs)

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
        return "".join(json.dumps(row.to_line()) + "\n" for row in self.rows)

    def read(self) -> None:
        """Take the rows from the file. ValueError or LookupError if it is damaged."""
        try:
            self.rows = [EpochRow.from_line(line) for line in read_lines(self.path)]
        except RecursionError as error:
            raise ValueError("brackets in brackets") from error

    def rewind(self, iteration: int) -> None:
        """Drop, in the file too, every epoch after `iteration`, and what a crash left of a line."""
        self.read()
        rows = distributed.from_first(lambda: self.rows)
        self.rows = [row for row in rows if row.iteration <= iteration]
        if not distributed.is_first() or not self.path.exists():
            return
        if self.path.read_text(encoding="utf-8") != self._text():
            self._write()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: what was recorded for an epoch that has no row yet. The rows are in the file."""
        return {"pending": dict(self._pending), "shown": sorted(self.shown)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._pending, self.shown = dict(state["pending"]), set(state["shown"])


def read_history(path: Path) -> History:
    """The rows on disk. UserError (exit 3) if the file is damaged."""
    history = History(path)
    try:
        history.read()
    except (OSError, ValueError, LookupError, TypeError) as error:
        hint = "Restore it from a copy, or run the recipe again with another --out."
        raise UserError(f"cannot read history.jsonl: {error}", path, hint, code=DAMAGED) from error
    return history
