"""One training: its live objects, and its directory on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from ignite.engine import Engine
from torch import nn

from ignite_vision import distributed, environment
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.history import History, Stopwatch, TrainingSums, write_atomically
from ignite_vision.loaders import Loaders
from ignite_vision.preprocessing import Preprocessing
from ignite_vision.recipe import LoadedRecipe, Recipe, digest, fields_of
from ignite_vision.sources import Canvas, Plan, Source
from ignite_vision.splits import Splits, content_hash, fingerprint, resized, write_csv

try:
    import fcntl
except ImportError:  # not on Windows: there, nothing keeps two runs out of one directory
    fcntl = None  # type: ignore[assignment]

FORMAT_VERSION = 1
BEGINNINGS = {".lock", "recipe.py", ".splits.csv.tmp", "splits.csv", ".run.json.tmp"}  # until run.json is there


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


def default_directory(loaded: LoadedRecipe, recipe: Recipe, data_name: str) -> Path:
    """`runs/<recipe>-<6 hex>`: the same command finds its run again, another learning rate gets another."""
    return environment.runs_home() / f"{loaded.name}-{digest(recipe, data_name)}"


def claim(directory: Path) -> IO[str] | None:
    """Create the run directory, or take it up again, and lock it for as long as this process lives.

    The lock is lockf's: it dies with its process, and forked loader workers do not inherit it (flock's they would,
    and a restart after kill -9 would be refused for seconds).
    """
    if not distributed.is_first():
        return None
    if directory.exists() and not directory.is_dir():
        raise UserError("--out is a file", directory, "Choose a folder that does not exist yet.")
    if directory.is_dir() and not is_run(directory) and not is_begun(directory):
        raise UserError("--out is a folder but no run", directory, "Choose a folder that does not exist yet.")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        reason = f"cannot write the run directory: {error.strerror}"
        raise UserError(reason, directory, "Choose another --out.") from error
    if fcntl is not None:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip()
            raise UserError(f"in use by {holder}", directory, "Wait for it, or choose another --out.") from None
    lock.seek(0)
    lock.truncate()
    lock.write(f"pid {os.getpid()} on {socket.gethostname()}")
    lock.flush()
    return lock


def is_run(directory: Path) -> bool:
    """Whether a folder is a run directory."""
    return (directory / "run.json").is_file()


def is_begun(directory: Path) -> bool:
    """Whether a folder holds nothing, or no more than a run that was killed before its run.json was written."""
    found = {path.name for path in directory.iterdir()}
    return found <= BEGINNINGS and (not found or ".lock" in found)


def read_settings(directory: Path) -> dict[str, Any]:
    """Return run.json. UserError when the folder is no run, or run.json cannot be read."""
    if not is_run(directory):
        hint = "It has no run.json. `ignite-vision run RECIPE` makes a run and prints its directory."
        raise UserError("not a run directory", directory, hint)
    path = directory / "run.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read run.json: {error}", path, "Restore it from a copy.", code=DAMAGED) from error
    if settings.get("format_version") != FORMAT_VERSION:
        newer = f"run.json has format {settings.get('format_version')}, this version reads {FORMAT_VERSION}"
        raise UserError(newer, path, "Install the ignite-vision that made it.", code=DAMAGED)
    return settings


def write_settings(run: Run) -> None:
    """Write the recipe's source, run.json and splits.csv: before anything trains. Only process 0 does."""
    if not distributed.is_first():
        return
    shutil.copyfile(run.loaded.source, run.directory / "recipe.py")
    write_csv(run.splits, run.directory / "splits.csv")
    write_atomically(run.directory / "run.json", json.dumps(settings_of(run), indent=2) + "\n")


def settings_of(run: Run) -> dict[str, Any]:
    """What run.json says. JSON-plain."""
    return {
        "format_version": FORMAT_VERSION,
        "name": run.loaded.name,
        "spec": run.loaded.spec,
        "overrides": run.overrides,
        "recipe": fields_of(run.recipe),
        "data": {
            "folder": str(run.data),
            "fingerprint": fingerprint(run.splits),
            "content": content_hash(run.splits) if run.verify_data else None,
            "sizes": {name: len(getattr(run.splits, name)) for name in ("train", "val", "test")},
        },
        "classes": list(run.splits.classes),
        "preprocessing": run.preprocessing.to_dict(),
        "environment": environment.record(run.device, run.precision),
        "cache": {"kind": run.plan.kind, "reason": run.plan.reason},
    }


def refuse_changes(run: Run, settings: dict[str, Any]) -> None:
    """UserError (exit 2) that names every recipe field that differs from run.json, old -> new; epochs may."""
    old, new = settings["recipe"], json.loads(json.dumps(fields_of(run.recipe)))
    names = [name for name in new if name != "epochs" and name in old and old[name] != new[name]]
    if names:
        changes = ", ".join(f"{name}: {old.get(name)!r} -> {new[name]!r}" for name in names)
        raise UserError(
            f"this run began with another recipe: {changes}",
            run.directory,
            "Undo that, or choose another --out.",
        )
    if settings["data"]["fingerprint"] != fingerprint(run.splits):
        found = resized(run.splits, run.directory / "splits.csv") or ["pixels or labels"]
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        what = f"the data changed since this run began: {', '.join(found[:3])}{more}"
        raise UserError(what, run.data, "Restore it, or choose another --out.")
    if run.verify_data and settings["data"].get("content") is None:
        raise UserError("this run began without --verify-data", run.directory, "Leave it out.")
    if run.verify_data and settings["data"]["content"] != content_hash(run.splits):
        what = "the content of a file changed since this run began, not its size"
        raise UserError(what, run.data, "Restore the data, or choose another --out.")


def changed_source(run: Run) -> list[str]:
    """`recipe file` if its text is another than when the run began: the same fields may do something else now."""
    before = run.directory / "recipe.py"
    if not before.is_file() or before.read_bytes() == run.loaded.source.read_bytes():
        return []
    return [f"the text of {run.loaded.source}"]


def changed_environment(run: Run, settings: dict[str, Any], but: tuple[str, ...] = ()) -> list[str]:
    """What differs outside recipe and data, as `subject: old -> new`; the run goes on, not exact.

    but: keys that are not looked at.
    """
    old, new = settings["environment"], environment.record(run.device, run.precision)
    old, new = {**old, **old["versions"]}, {**new, **new["versions"]}
    keys = [key for key in new if key not in ("versions", *but) and old.get(key) != new[key]]
    return [f"{key}: {old.get(key)} -> {new[key]}" for key in keys]
