"""TODO."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


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


def data_home() -> Path:
    """Where data sets live: $IGNITE_VISION_DATA, else ignite-vision/data in the user's cache folder."""
    return _home("IGNITE_VISION_DATA", cache_home() / "data")


def runs_home() -> Path:
    """Where runs are written: $IGNITE_VISION_RUNS, else runs/ here."""
    return _home("IGNITE_VISION_RUNS", Path("runs"))


def _home(variable: str, default: Path) -> Path:
    value = os.environ.get(variable)
    return Path(value).expanduser() if value else default


def cache_home() -> Path:
    """Where what can be computed again lives: ignite-vision in $XDG_CACHE_HOME, else in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ignite-vision"
