"""What a checkpoint holds, how it is written so that at every moment a good one exists, and how it is read.

    RUN/checkpoints/step-0000001200-validated/
        manifest.json        format, step, epoch, sha256 and size of the files, and its own
        model.safetensors    the whole model, now
        best.safetensors     what training changes, at the best epoch
        train.pt             optimizer, scheduler, counters: tensors and plain values only

Ignite's Checkpoint decides when and which; the handler here writes. Its own DiskSaver deletes before it writes at the
default, never syncs, and of 400 single flipped bits 389 load silently.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from ignite.handlers import Checkpoint
from ignite.handlers.checkpoint import BaseSaveHandler
from safetensors.torch import load_file

from ignite_vision._version import __version__
from ignite_vision.models.model_file import save_tensors
from ignite_vision.models.state import tensors_and_extra
from ignite_vision.models.weights import load_plain, refuse_inflated
from ignite_vision.system import distributed
from ignite_vision.system.files import sha256, sync, sync_folder

FORMAT_VERSION = 1
MAX_MANIFEST = 1 << 20  # bytes; a larger one is not ours


class Damaged(Exception):
    """A checkpoint that does not verify, and why."""


class CheckpointWriter(BaseSaveHandler):
    """Writes verified directories, in process 0. What Ignite wants removed goes only when its successor is durable.

    n: how many stay. make_ready: called before each.
    """

    def __init__(self, folder: Path, n: int, make_ready: Callable[[], None]):
        self.folder, self.n, self.make_ready = folder, n, make_ready
        self.manifest: dict[str, Any] = {}
        self.doomed: list[str] = []

    def __call__(self, checkpoint: Mapping[str, Any], filename: str, metadata: Mapping[str, Any] | None = None) -> None:
        """checkpoint: state dicts by name; filename: the directory's name; metadata is Ignite's, not needed."""
        del metadata
        if not distributed.is_first():
            return
        self.make_ready()
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary, final = self.folder / f".tmp-{filename}", self.folder / filename
        rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        _write_files(temporary, dict(checkpoint))
        files = {path.name: _seal(path) for path in sorted(temporary.iterdir())}
        manifest = {
            "format_version": FORMAT_VERSION,
            "ignite_vision": __version__,
            **self.manifest,
            "files": files,
        }
        manifest["seal"] = seal(manifest)
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        sync(temporary / "manifest.json")
        sync_folder(temporary)
        if final.exists():  # the same step again, after an older one was resumed
            final.rename(self.folder / f".del-{filename}-{time.time_ns()}")
        temporary.rename(final)
        sync_folder(self.folder)
        self.doomed = [name for name in self.doomed if name != filename]  # Ignite replaces a name by removing it
        self._delete_doomed()

    def remove(self, filename: str) -> None:
        """Remember what Ignite wants gone: it asks before the new one is written."""
        self.doomed.append(filename)

    def give_up(self, keeper: Checkpoint) -> None:
        """Forget a save that failed: nothing half of it stays, and nothing is deleted for it."""
        clean(self.folder)
        self.take_over(keeper)

    def take_over(self, keeper: Checkpoint) -> None:
        """Tell Ignite of the newest checkpoints that are there; older ones, of a command that kept more, go next."""
        existing = steps(self.folder)
        spare = max(len(existing) - self.n, 0)
        self.doomed = [path.name for path in existing[:spare]]
        kept = existing[spare:]
        keeper.load_state_dict({"_saved": [(rank, path.name) for rank, path in enumerate(kept, -len(kept))]})

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
            rmtree(path, ignore_errors=True)


def _write_files(folder: Path, states: dict[str, Any]) -> None:
    best = dict(states.pop("best"))
    weights = best.pop("weights")
    tensors, extra = tensors_and_extra(states.pop("model"))
    save_tensors(folder / "model.safetensors", tensors)
    if weights:
        save_tensors(folder / "best.safetensors", weights)
    torch.save({**states, "best": best, "model_extra": extra}, str(folder / "train.pt"))


def _seal(path: Path) -> dict[str, Any]:
    sync(path)
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def seal(manifest: Mapping[str, Any]) -> str:
    """Hash of everything else in a manifest: against accidents, not against people."""
    rest = {name: value for name, value in manifest.items() if name != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def verify(directory: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint whose every byte is as it was written. Damaged otherwise."""
    manifest = read_manifest(directory / "manifest.json")
    files = manifest["files"]
    for name in ("model.safetensors", "train.pt"):
        if name not in files:
            raise Damaged(f"{name} is not in the manifest")
    for name, entry in files.items():
        if name not in ("model.safetensors", "best.safetensors", "train.pt"):  # no path is taken from a file
            raise Damaged(f"the manifest names a foreign file '{name}'")
        file = directory / name
        try:
            intact = file.is_file() and file.stat().st_size == entry["bytes"] and sha256(file) == entry["sha256"]
        except OSError as error:
            raise Damaged(f"{name} cannot be read: {error.strerror}") from error
        if not intact:
            raise Damaged(f"{name} is missing or not as it was written")
    if manifest.get("seal") != seal(manifest):
        raise Damaged("manifest.json is not as it was written")
    return manifest


def read_manifest(path: Path) -> dict[str, Any]:
    """Return what a manifest.json says, whether true or not. Damaged if it is none of ours."""
    try:
        if path.stat().st_size > MAX_MANIFEST:
            raise Damaged("manifest.json is too large")
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format_version"] != FORMAT_VERSION:
            raise Damaged(f"format {manifest['format_version']}, this version reads {FORMAT_VERSION}")
        for entry in manifest["files"].values():
            entry["bytes"], entry["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"manifest.json: {type(error).__name__}: {error}") from error
    return manifest


def steps(folder: Path) -> list[Path]:
    """Checkpoint directories, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def read_states(path: Path) -> dict[str, Any]:
    """Return the state dicts of a checkpoint that verified. ValueError for what is not plain data."""
    try:
        states = dict(load_plain(path / "train.pt"))
    except pickle.UnpicklingError as error:
        raise ValueError("train.pt holds more than tensors and plain values") from error
    states["model"] = {**load_file(path / "model.safetensors"), **states.pop("model_extra", {})}
    best = path / "best.safetensors"
    states["best"]["weights"] = load_file(best) if best.exists() else {}
    refuse_inflated(states)
    return states
