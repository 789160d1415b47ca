"""What the paths of a command mean: files, folders, patterns, and a list that comes in by a pipe."""

from __future__ import annotations

import glob
import os
import select
from collections.abc import Iterator, Sequence
from pathlib import Path

from ignite_vision.data.folders import images_below
from ignite_vision.errors import UserError

STDIN = "-"
MOST = 1 << 16  # bytes of a line: no system has longer paths
PATIENCE = 0.1  # seconds that a list may pause before what it has brought so far is answered
READ = 1 << 16  # bytes at a time

Found = str | UserError  # a path, or why there is none


def bursts(paths: Sequence[str], stdin: int = 0) -> Iterator[Iterator[Found]]:
    """Yield the images of all paths, in order, in parts that need not wait for each other.

    A part ends where a list on stdin pauses: whoever types a path has the answer at once. Each part is to be read to
    its end before the next is asked for.
    """
    for path in paths:
        if path == STDIN:
            yield from listed(stdin)
        else:
            yield expanded(path)


def expanded(path: str) -> Iterator[Found]:
    """Yield the images that an argument means: a folder's, sorted; those of a pattern, sorted; else the path itself.

    A name that exists is no pattern, whatever is in it.
    """
    if glob.has_magic(path) and not os.path.lexists(path):
        matches = sorted(glob.glob(path, recursive=True), key=os.fsencode)  # noqa: PTH207  (keeps './' as it is typed)
        if not matches:
            yield UserError("no file matches", path)
        for match in matches:
            yield from in_folder_or_file(match)
    else:
        yield from in_folder_or_file(path)


def in_folder_or_file(path: str) -> Iterator[Found]:
    """Yield the images in a folder and deeper, sorted; a file as it is, whatever its name ends in."""
    if os.path.isdir(path):  # noqa: PTH112  (Path's own raises for a NUL before Python 3.13)
        yield from (found if isinstance(found, UserError) else str(found) for found in images_below(Path(path)))
    else:
        yield path


def listed(file: int) -> Iterator[Iterator[Found]]:
    """Yield the images of a list of paths, one a line, in parts: file is the descriptor that it comes from."""
    lines = Lines(file)
    while not lines.ended:
        yield (found for path in filter(None, map(without_cr, lines.burst())) for found in in_folder_or_file(path))


def without_cr(line: str) -> str:
    """A path without the carriage return with which lists of other systems end a line, unless its file has one."""
    return line[:-1] if line.endswith("\r") and not os.path.lexists(line) else line


class Lines:
    """Lines from a descriptor, as they come, without line ends and empty ones. ended: whether there are no more."""

    def __init__(self, file: int):
        self.file, self.ended, self.rest = file, False, b""

    def burst(self) -> Iterator[str]:
        """Yield lines until the writer pauses. Waits for the first of them, however long."""
        while not self.ended:
            *whole, self.rest = (self.rest + self._read()).split(b"\n")
            if self.ended:
                whole, self.rest = [*whole, self.rest], b""
            if len(self.rest) > MOST:
                raise UserError("stdin is no list of paths, one on each line", next_step="Make one, as `find` does.")
            yield from (os.fsdecode(line) for line in whole if line)
            if not self.ended and not select.select([self.file], [], [], PATIENCE)[0]:
                return

    def _read(self) -> bytes:
        data = os.read(self.file, READ)
        self.ended = not data
        return data
