"""TODO."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import IO, Any

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.identity import digest
from ignite_vision.recipe import Recipe
from ignite_vision.recipe_files import LoadedRecipe
from ignite_vision.system import distributed
from ignite_vision.system.files import runs_home

try:
    import fcntl
except ImportError:  # not on Windows: there, nothing keeps two runs out of one directory
    fcntl = None  # type: ignore[assignment]


FORMAT_VERSION = 1
BEGINNINGS = {".lock", "recipe.py", ".splits.csv.tmp", "splits.csv", ".run.json.tmp"}  # until run.json is there


def default_directory(loaded: LoadedRecipe, recipe: Recipe, data_name: str) -> Path:
    """`runs/<recipe>-<6 hex>`: the same command finds its run again, another learning rate gets another."""
    return runs_home() / f"{loaded.name}-{digest(recipe, data_name)}"


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
