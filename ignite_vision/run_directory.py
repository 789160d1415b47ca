"""A run's directory on disk: every file name in it once, who holds it, and what state it is in."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import shlex
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.system import distributed
from ignite_vision.system.files import data_home, lock_file, write_atomically

FORMAT_VERSION = 2  # of run.json; 1 identified recipes by all their fields, and has no sources
# until run.json is there
BEGINNINGS = {".lock", ".recipe.py.tmp", "recipe.py", ".splits.csv.tmp", "splits.csv", ".run.json.tmp"}

# What a damaged JSON file raises when it is read and looked at.
DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)
# What the files must hold for the rest of the package to read them; they hold more.
NUMBER = (int, float)
SETTINGS = {
    **{"name": str, "spec": str, "overrides": dict, "recipe": {"epochs": int}, "sources": dict},
    "weights": (str, NoneType),
    "data": {"folder": str, "fingerprint": str, "sample": dict, "content": (str, NoneType)},
    "classes": list,
    "environment": {"versions": dict, "precision": str},
}
RESULTS = {
    **{"split": str, "n": int, "loss": NUMBER, "accuracy": NUMBER, "balanced_accuracy": NUMBER, "macro_f1": NUMBER},
    "per_class": dict,
}
CLASS_RESULTS = {"n": int, "accuracy": NUMBER, "precision": NUMBER, "f1": NUMBER}
LARGEST = 1e15  # of any number in it


def _is_number(value: Any) -> bool:
    return type(value) in NUMBER and -LARGEST < value < LARGEST


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value < LARGEST


def _is_share(value: Any) -> bool:
    return type(value) in NUMBER and 0 <= value <= 1


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_share, value))


def _is_row_of_coverage(value: Any) -> bool:
    if not isinstance(value, dict) or not COVERAGE.keys() <= value.keys():
        return False
    return _is_number(value.get("n")) and not _other_value(value, COVERAGE)


def _are_rows_of_coverage(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_row_of_coverage, value))


Kind = Callable[[Any], bool]
# What the numbers must be where they are there, and known: earlier versions wrote fewer of them.
COVERAGE: dict[str, Kind] = {"threshold": _is_share, "accuracy": _is_share, "interval": _is_interval}
OF_CLASS: dict[str, Kind] = {
    **{"n": _is_number, "interval": _is_interval},
    **dict.fromkeys(("accuracy", "precision", "f1"), _is_share),
}
ERROR = {"ece": _is_share}
KINDS: dict[str, Any] = {
    **{"n": _is_count, "loss": _is_number, "coverage": _are_rows_of_coverage},
    **dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"), _is_share),
    "intervals": dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"), _is_interval),
    "baseline": {"class": lambda value: isinstance(value, str), "accuracy": _is_share, "chance": _is_share},
    "calibration": {
        **{"temperature": _is_number, "n": _is_number, "before": ERROR, "after": ERROR},
        "ece_if_perfect": {"mean": _is_share, "p95": _is_share},
    },
    "twins": {"in_train": _is_number, "accuracy_without": _is_share},
}
# Of these, fields that are there if the whole is; their values may be unknown.
WHOLE: dict[str, Any] = {
    "baseline": {"class": str, "accuracy": NUMBER, "chance": NUMBER},
    "calibration": {
        **{"temperature": NUMBER, "n": NUMBER, "before": {"ece": object}, "after": {"ece": object}},
        "ece_if_perfect": {"mean": object, "p95": object},
    },
    "twins": {"in_train": NUMBER, "accuracy_without": object},
}


def command_of(settings: dict[str, Any], folder: Path | None) -> str:
    """Return the command that trains the settings of a run.json. folder: where its images are now."""
    words = ["ignite-vision", "run", settings["spec"]]
    if folder is not None and folder.exists() and folder not in (Path(settings["spec"]), data_home() / folder.name):
        words += ["--data", str(folder)]
    for name, value in settings["overrides"].items():
        words += ["--set", f"{name}={value}"]
    return shlex.join(words)


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """Where one run keeps everything. `directory / "name"` is a place for a file of a recipe's own."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def __fspath__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def settings(self) -> Path:
        """What the run began as; with it, a folder is a run."""
        return self.path / "run.json"

    @property
    def recipe_copy(self) -> Path:
        """The recipe's source as it was when the run began."""
        return self.path / "recipe.py"

    @property
    def splits(self) -> Path:
        """Which image is in which split."""
        return self.path / "splits.csv"

    @property
    def history(self) -> Path:
        """A line per epoch."""
        return self.path / "history.jsonl"

    @property
    def timings(self) -> Path:
        """A line per epoch, from the clock."""
        return self.path / "timings.jsonl"

    @property
    def curves(self) -> Path:
        """The history as a picture."""
        return self.path / "curves.svg"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """The folder of event files."""
        return self.path / "tensorboard"

    @property
    def model(self) -> Path:
        """The best epoch's weights with their classes and preprocessing."""
        return self.path / "model.safetensors"

    @property
    def metrics(self) -> Path:
        """Results on the test split; written last, so with it a run is finished."""
        return self.path / "metrics.json"

    @property
    def predictions(self) -> Path:
        """A line per test image: its class, and what the model says."""
        return self.path / "predictions.csv"

    @property
    def report(self) -> Path:
        """What explains the results, for a browser."""
        return self.path / "report.html"

    @property
    def label_suspects(self) -> Path:
        """Images whose label may be wrong; written with the report."""
        return self.path / "label_suspects.csv"

    @property
    def duplicates(self) -> Path:
        """Near-identical images, found by `check`."""
        return self.path / "duplicates.csv"

    @property
    def check(self) -> Path:
        """What `check` found in the images."""
        return self.path / "check.json"

    def results(self, split: str) -> Path:
        """Folder of the results on a split: the run's own are those of the test split."""
        return self.path if split == "test" else self.path / split

    def results_elsewhere(self, name: str) -> Path:
        """Folder of the results on images that are not the run's."""
        return self.path / "evaluations" / name

    def exists(self) -> bool:
        """Whether the folder is a run."""
        return self.settings.is_file()

    def is_begun(self) -> bool:
        """Whether the folder holds nothing, or no more than a run that was killed before its run.json was written."""
        found = {path.name for path in self.path.iterdir()}
        return found <= BEGINNINGS and (not found or ".lock" in found)

    def read_settings(self) -> dict[str, Any]:
        """Return run.json. UserError when the folder is no run, or run.json cannot be read."""
        if not self.exists():
            hint = "It has no run.json. `ignite-vision run RECIPE` makes a run and prints its directory."
            if several := SeedsDirectory(self.path).begun():
                hint = f"It holds the runs of several seeds: name one, such as {several[0]}."
            raise UserError("not a run directory", self.path, hint)
        try:
            settings = json.loads(self.settings.read_text(encoding="utf-8"))
            version = settings["format_version"]
            if version == FORMAT_VERSION:
                _refuse_other_shape(settings, SETTINGS)
                _refuse_other_shape(settings["overrides"], dict.fromkeys(settings["overrides"], str))
        except DAMAGE as error:
            what = f"cannot read run.json: {_reason(error)}"
            raise UserError(what, self.settings, "Restore it from a copy.", code=DAMAGED) from error
        if version != FORMAT_VERSION:
            what = f"run.json has format {version}, this version reads {FORMAT_VERSION}"
            hint = "Choose another --out, or install the ignite-vision that made it."
            raise UserError(what, self.settings, hint, code=DAMAGED)
        return dict(settings)

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Replace run.json in one step."""
        write_atomically(self.settings, json.dumps(settings, indent=2) + "\n")

    def read_metrics(self) -> dict[str, Any] | None:
        """Return metrics.json; None where it is missing. UserError (exit 3) if it cannot be read."""
        try:
            numbers = dict(json.loads(self.metrics.read_text(encoding="utf-8")))
            numbers["loss"] = math.nan if numbers["loss"] is None else numbers["loss"]
            _refuse_other_results(numbers)
            return numbers
        except FileNotFoundError:
            return None
        except DAMAGE as error:
            hint = f"Delete it: `ignite-vision resume {self.path}` writes it again."
            raise UserError(f"cannot read metrics.json: {_reason(error)}", self.metrics, hint, code=DAMAGED) from error

    @contextlib.contextmanager
    def claimed(self, say: Callable[[str], None] = print) -> Iterator[None]:
        """Create the folder, or take it up again, and hold it within this context; only process 0 does.

        UserError if it is no run's, is in use or cannot be written. say: called where nothing can hold it.
        """
        if not distributed.is_first():
            yield
            return
        self._refuse_foreign()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("a+", encoding="utf-8")
        except OSError as error:
            reason = f"cannot write the run directory: {error.strerror}"
            raise UserError(reason, self.path, "Choose another --out.") from error
        with lock:
            try:
                free = lock_file(lock)
            except OSError as error:
                say(f"warning: this file system has no locks ({error.strerror}): do not use {self.path} twice at once")
                free = True
            lock.seek(0)
            if not free:
                hint = "Wait for it, or choose another --out."
                raise UserError(f"in use by {lock.read().strip()}", self.path, hint)
            lock.truncate()
            lock.write(f"pid {os.getpid()} on {socket.gethostname()}")
            lock.flush()
            yield

    def _refuse_foreign(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise UserError("--out is a file", self.path, "Choose a folder that does not exist yet.")
        if self.path.is_dir() and not self.exists() and not self.is_begun():
            raise UserError(
                "--out is a folder but not a run directory", self.path, "Choose a folder that does not exist yet."
            )


@dataclasses.dataclass(frozen=True)
class SeedsDirectory:
    """A folder of runs that differ in their seed alone: `seed-0`, `seed-1`, and seeds.json with what came of them."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def results(self) -> Path:
        """Mean and spread over the runs; written last, so with it all of them are finished."""
        return self.path / "seeds.json"

    def run(self, seed: int) -> RunDirectory:
        """Where the run of a seed is."""
        return RunDirectory(self.path / f"seed-{seed}")

    def begun(self) -> list[RunDirectory]:
        """Runs that are there, finished or not, by their seed."""
        found = [path for path in self.path.glob("seed-*") if path.name[5:].isdecimal()]
        runs = map(RunDirectory, sorted(found, key=lambda path: int(path.name[5:])))
        return [run for run in runs if run.exists()]

    def read(self) -> list[RunDirectory]:
        """Return the runs that seeds.json names. UserError (exit 3) if it cannot be read."""
        try:
            rows = json.loads(self.results.read_text(encoding="utf-8"))["runs"]
            return [self.run(int(row["seed"])) for row in rows]
        except DAMAGE as error:
            hint = "The command that made it writes it again."
            raise UserError(f"cannot read seeds.json: {_reason(error)}", self.results, hint, code=DAMAGED) from error

    def refuse_foreign(self) -> None:
        """UserError if there is something else at this place: a run, a file, or a folder of anything."""
        hint = "Choose a folder that does not exist yet."
        if RunDirectory(self.path).exists():
            raise UserError("--out is a run, and several seeds need a folder of runs", self.path, hint)
        if self.path.exists() and not self.path.is_dir():
            raise UserError("--out is a file", self.path, hint)
        if self.path.is_dir() and any(self.path.iterdir()) and not any(self.path.glob("seed-*")):
            raise UserError("--out is a folder but not one of runs of several seeds", self.path, hint)


def _refuse_other_shape(values: Any, shape: dict[str, Any]) -> None:
    """Raise LookupError or TypeError, which name the field, if values lack one or hold something else in it."""
    for name, wanted in shape.items():
        if isinstance(wanted, dict):
            _refuse_other_shape(values[name], wanted)
        elif not isinstance(values[name], wanted):
            raise TypeError(f"its {name} is {str(values[name])[:40]!r}")


def _refuse_other_results(numbers: dict[str, Any]) -> None:
    """The same of metrics.json: what the report and a comparison draw must be what it says that it is."""
    _refuse_other_shape(numbers, RESULTS)
    other = _other_value({**numbers, "loss": None if math.isnan(numbers["loss"]) else numbers["loss"]}, KINDS)
    for row in numbers["per_class"].values():
        _refuse_other_shape(row, CLASS_RESULTS if row["n"] else {})
        other = other or _other_value(row, OF_CLASS)
    if other:
        raise TypeError(f"its {other[0]} is {str(other[1])[:40]!r}")
    _refuse_other_shape(numbers, {name: shape for name, shape in WHOLE.items() if numbers.get(name) is not None})


def _other_value(values: dict[str, Any], kinds: dict[str, Any]) -> tuple[str, Any] | None:
    """The first field that is there and known, and is of another kind, with its value; None without."""
    for name, kind in kinds.items():
        value = values.get(name)
        if value is None:
            continue
        if callable(kind):
            other = None if kind(value) else (name, value)
        else:
            other = _other_value(value, kind) if isinstance(value, dict) else (name, value)
        if other:
            return other
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"it has no {error}" if isinstance(error, LookupError) else str(error)
