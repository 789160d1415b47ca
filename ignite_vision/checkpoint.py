"""What a checkpoint holds, how it is written so that at every moment a good one exists, and how it is read.

    RUN/checkpoints/step-0000001200-validated/
        manifest.json        format, step, epoch, sha256 and size of the files
        model.safetensors    the whole model, now
        best.safetensors     what training changes, at the best epoch
        train.pt             optimizer, scheduler, counters: tensors and plain values only

Ignite's Checkpoint decides when and which; the handler here writes. Its own DiskSaver deletes before it writes at the
default, never syncs, and of 400 single flipped bits 389 load silently.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint
from ignite.handlers.checkpoint import BaseSaveHandler
from safetensors.torch import load_file

from ignite_vision._version import __version__
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.model_file import save_tensors

if TYPE_CHECKING:
    from ignite_vision.run import Run

FORMAT_VERSION = 1
KEEP = 2  # newest checkpoints on disk
SAVE_SHARE = 0.01  # of the time that saving may take
FIRST_SAVE = 10.0  # seconds before the first save, while its duration is not known
MAX_MANIFEST = 1 << 20  # bytes; a larger one is not ours


class Damaged(Exception):
    """A checkpoint that does not verify, and why."""


class CheckpointWriter(BaseSaveHandler):
    """Writes verified directories. What Ignite wants removed goes only when its successor is durable."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.manifest: dict[str, Any] = {}
        self.doomed: list[str] = []

    def __call__(self, checkpoint: Mapping[str, Any], filename: str, metadata: Mapping[str, Any] | None = None) -> None:
        """checkpoint: state dicts by name; filename: the directory's name; metadata is Ignite's, not needed."""
        del metadata
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary, final = self.folder / f".tmp-{filename}", self.folder / filename
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        _write_files(temporary, dict(checkpoint))
        files = {path.name: _seal(path) for path in sorted(temporary.iterdir())}
        manifest = {
            "format_version": FORMAT_VERSION,
            "ignite_vision": __version__,
            **self.manifest,
            "files": files,
        }
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        sync(temporary / "manifest.json")
        sync(temporary)
        if final.exists():  # the same step again, after an older one was resumed
            final.rename(self.folder / f".del-{filename}-{time.time_ns()}")
        temporary.rename(final)
        sync(self.folder)
        self._delete_doomed()

    def remove(self, filename: str) -> None:
        """Remember what Ignite wants gone: it asks before the new one is written."""
        self.doomed.append(filename)

    def _delete_doomed(self) -> None:
        for name in self.doomed:
            if (self.folder / name).exists():
                (self.folder / name).rename(self.folder / f".del-{name}")
        self.doomed.clear()
        clean(self.folder)


def clean(folder: Path) -> None:
    """Delete what a killed writer left."""
    for path in folder.glob(".*"):
        if path.name.startswith((".tmp-", ".del-")):
            shutil.rmtree(path, ignore_errors=True)


def _write_files(folder: Path, states: dict[str, Any]) -> None:
    best = dict(states.pop("best"))
    weights = best.pop("weights")
    save_tensors(folder / "model.safetensors", states.pop("model"))
    if weights:
        save_tensors(folder / "best.safetensors", weights)
    torch.save({**states, "best": best}, str(folder / "train.pt"))


def _seal(path: Path) -> dict[str, Any]:
    sync(path)
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def sync(path: Path) -> None:
    """Have the disk, not only the system's memory, hold a file or directory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """The file's hash in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def verify(directory: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint whose every byte is as it was written. Damaged otherwise."""
    path = directory / "manifest.json"
    try:
        if path.stat().st_size > MAX_MANIFEST:
            raise Damaged("manifest.json is too large")
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format_version"] != FORMAT_VERSION:
            raise Damaged(f"format {manifest['format_version']}, this version reads {FORMAT_VERSION}")
        files = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"manifest.json: {type(error).__name__}: {error}") from error
    for name in ("model.safetensors", "train.pt"):
        if name not in files:
            raise Damaged(f"{name} is not in the manifest")
    for name, (size, digest) in files.items():
        if name not in ("model.safetensors", "best.safetensors", "train.pt"):  # no path is taken from a file
            raise Damaged(f"the manifest names a foreign file '{name}'")
        file = directory / name
        if not file.is_file() or file.stat().st_size != size or sha256(file) != digest:
            raise Damaged(f"{name} is missing or not as it was written")
    return manifest


def steps(folder: Path) -> list[Path]:
    """Checkpoint directories, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def newest(run: Run) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest checkpoint that verifies, with its manifest. Damaged ones are named and kept aside.

    UserError (exit 3) when there are checkpoints and none verifies.
    """
    damaged = []
    for path in reversed(steps(run.directory / "checkpoints")):
        try:
            return path, verify(path)
        except Damaged as error:
            damaged.append(f"{path.name}: {error}")
            run.say(f"warning: skipping damaged checkpoint {path}: {error}")
            path.rename(path.with_name(f"damaged-{path.name}-{time.time_ns()}"))
    if damaged or any((run.directory / "checkpoints").glob("damaged-*")):
        what = "no checkpoint verifies: " + ("; ".join(damaged) or "all are damaged")
        raise UserError(what, run.directory, "Restore them from a copy, or choose another --out.", code=DAMAGED)
    return None


def restore(run: Run) -> dict[str, Any] | None:
    """Put the newest good checkpoint into the run's objects and rewind its history. The manifest, if there is one."""
    clean(run.directory / "checkpoints")
    found = newest(run)
    if found is None:
        run.history.rewind(0)
        return None
    path, manifest = found
    # weights_only, always explicit: an environment variable can turn the default off
    try:
        states = torch.load(path / "train.pt", map_location=run.device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).split(". ")[0].split("\n")[0][:120]
        raise UserError(f"train.pt is not ours: {reason}", path, "Choose another --out.", code=DAMAGED) from error
    states["model"] = load_file(path / "model.safetensors")
    best = path / "best.safetensors"
    states["best"]["weights"] = load_file(best, device=str(run.device)) if best.exists() else {}
    objects = to_save(run)
    if set(states) != set(objects):
        odd = ", ".join(sorted(set(states) ^ set(objects)))
        raise UserError(f"the checkpoint and the recipe's handlers differ in {odd}", path, "Choose another --out.")
    Checkpoint.load_objects(to_load=objects, checkpoint=states)
    run.history.rewind(run.trainer.state.iteration)
    return manifest


def to_save(run: Run) -> dict[str, Any]:
    """Every object whose state decides how the run goes on."""
    return {"model": run.model, "optimizer": run.optimizer, "trainer": run.trainer, **run.persisted}


def save_checkpoints(run: Run) -> None:
    """Save when that costs no more than 1 % of the time, after the epoch's other handlers; run.save() saves now."""
    writer = CheckpointWriter(run.directory / "checkpoints")
    keeper = Checkpoint(
        to_save(run),
        writer,
        filename_pattern="{global_step}",
        global_step_transform=lambda *_: step_name(run),
        score_function=lambda _: position(run),  # the newest are kept
        n_saved=KEEP,
    )
    existing = steps(run.directory / "checkpoints")
    keeper.load_state_dict({"_saved": [(rank, path.name) for rank, path in enumerate(existing, -len(existing))]})
    due = time.monotonic() + FIRST_SAVE

    def save() -> None:
        nonlocal due
        begin = time.monotonic()
        writer.manifest = {
            "step": run.trainer.state.iteration,
            "epoch": run.trainer.state.epoch,
            "validated": is_validated(run),
            "best_epoch": run.best.epoch,
        }
        keeper(run.trainer)
        seconds = time.monotonic() - begin
        run.stopwatch.saving += seconds
        due = time.monotonic() + seconds / SAVE_SHARE

    run.save = save

    def save_when_due(trainer: Engine) -> None:
        # at an epoch's last iteration the epoch's own save is about to come, with its validation
        if time.monotonic() > due and (is_validated(run) or trainer.state.iteration % len(run.loaders.train)):
            save()

    every = run.recipe.accumulate  # between optimizer steps there are gradients that no checkpoint holds
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(every=every), save_when_due)
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, save_when_due)


def is_validated(run: Run) -> bool:
    """Whether the last finished iteration ended an epoch that has its history row."""
    return bool(run.history.rows) and run.history.rows[-1].iteration == run.trainer.state.iteration


def step_name(run: Run) -> str:
    """`step-0000001200`, and `-validated` after validation, so that a save during it collides with nothing."""
    return f"step-{run.trainer.state.iteration:010d}" + ("-validated" if is_validated(run) else "")


def position(run: Run) -> float:
    """Order of checkpoints: by iteration, validated after not."""
    return run.trainer.state.iteration + (0.5 if is_validated(run) else 0.0)
