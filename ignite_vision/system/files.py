"""Files that a crash leaves whole, locks, and the folders that this package uses by itself."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TextIO

from ignite_vision.errors import NOT_SAVED, UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A folder that cannot be synced: not on this file system, or not by who may not read it.
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM)
HELD = (errno.EACCES, errno.EAGAIN)  # what lockf says, by POSIX, of a lock that another process has


def write_rows(file: TextIO, rows: Iterable[Iterable[Any]]) -> None:
    """Write rows of CSV, one with a carriage return quoted as a whole.

    Python before 3.13 does not quote that, and reads it as the row's end.
    """
    plain = csv.writer(file, lineterminator="\n")
    quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in map(tuple, rows):
        bare = any("\r" in cell for cell in row if isinstance(cell, str))
        (quoted if bare else plain).writerow(row)


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as the text of a CSV file."""
    text = io.StringIO()
    write_rows(text, rows)
    return text.getvalue()


def json_line(values: dict[str, Any]) -> str:
    """One JSON object as a line."""
    return json.dumps(values) + "\n"


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Append one JSON object as a line, after dropping what a crash left of one. OSError when the disk is full."""
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - 1, 0))
        if file.read(1) not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json_line(values).encode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a JSON-lines file; a missing file is empty, a line cut off by a crash is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def sync(path: Path) -> None:
    """Have the disk, not only the system's memory, hold a file; for a folder there is `sync_folder`."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def expect_writable(path: Path) -> None:
    """UserError if no file can be written at a path, before the work for it is done: one beside it is tried.

    OSError when the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"cannot write: {error.strerror}", path, "Choose another place.") from error


def expect_writable_folder(folder: Path, hint: str) -> None:
    """UserError if nothing could be written into a folder, which need not be there yet: before the work for it."""
    place = folder
    while not os.access(place, os.F_OK) and place != place.parent:
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        raise UserError("the results cannot be written", place, hint)


@contextlib.contextmanager
def keeping(what: str, place: Path, hint: str = "Free some space and run the same command again.") -> Iterator[None]:
    """Within, write results: an OSError becomes a UserError (exit 4) that says what could not be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{what} cannot be written: {error.strerror}", place, hint, code=NOT_SAVED) from error


@contextlib.contextmanager
def replacing(path: Path, mark: str = "") -> Iterator[Path]:
    """Within, write the file that is yielded: at the end it takes the place of `path` in one step.

    A reader, a crash or a power cut finds the old file or the new, never a half, and after the block the new one. When
    the block raises, `path` is as it was and nothing is left beside it. OSError when the disk does not take it.
    mark: part of the temporary file's name, so that several processes may write the same file.
    """
    temporary = path.with_name(f".{path.name}{mark}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the disk hold the names in a folder, where that can be asked for."""
    try:
        sync(folder)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def write_atomically(path: Path, text: str, mark: str = "") -> None:
    """Replace a file by a text, as `replacing` does. UTF-8; undecodable bytes of file names stay as they are."""
    with replacing(path, mark) as temporary:
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.write(text)


def lock_file(file: IO[Any]) -> bool:
    """Lock a file opened for writing until it is closed or the process ends. False if another process has the lock.

    The lock is lockf's: forked loader workers do not inherit it (flock's they would, and a restart after kill -9 would
    be refused for seconds). OSError when it fails for another reason: the file system has no locks (ENOLCK, NFS
    without its lock daemon). On Windows nothing is locked.
    """
    if fcntl is None:
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        raise
    return True


def data_home() -> Path:
    """Where data sets live: $IGNITE_VISION_DATA, else data/ in `cache_home`."""
    return _from_environment("IGNITE_VISION_DATA") or cache_home() / "data"


def runs_home() -> Path:
    """Where runs are written: $IGNITE_VISION_RUNS, else runs/ here."""
    return _from_environment("IGNITE_VISION_RUNS") or Path("runs")


def _from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value).expanduser() if value else None


def cache_home() -> Path:
    """Where what can be computed again lives: ignite-vision in $XDG_CACHE_HOME, else in ~/.cache.

    Where no home folder can be used (none in the environment, no permission, as in a container with a user of its
    own), a folder of this user's in the system's temporary folder. UserError when that is another's.
    """
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "ignite-vision"
    try:
        folder = Path.home() / ".cache" / "ignite-vision"
    except RuntimeError:  # neither $HOME nor an entry for this user
        return _temporary_home()
    return folder if _is_usable(folder) else _temporary_home()


def _is_usable(folder: Path) -> bool:
    """Whether a folder can be read, or made where it is not there yet."""
    for place in (folder, *folder.parents):
        if os.access(place, os.F_OK):
            return os.access(place, os.X_OK | (os.R_OK if place == folder else os.W_OK))
    return False


def _temporary_home() -> Path:
    """`/tmp/ignite-vision-UID`, readable by its owner alone: made by another user it would be theirs to fill."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"ignite-vision-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or (hasattr(os, "getuid") and folder.stat().st_uid != user):
        raise UserError("the cache folder belongs to another user", folder, "Set XDG_CACHE_HOME to a folder of yours.")
    return folder


def sha256(path: Path) -> str:
    """The file's hash in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
