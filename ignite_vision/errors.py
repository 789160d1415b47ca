"""Errors that a person reads: one line, and what to do next."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable

# Exit codes of every command; 0 is done and 1 anything unexpected.
BAD_INPUT = 2  # the user's input or data
DAMAGED = 3  # no checkpoint or model that verifies
NOT_SAVED = 4  # the last save failed
STOPPED = 75  # by a signal, with everything saved (EX_TEMPFAIL: run it again)
INTERRUPTED = 130  # by Ctrl-C, with everything saved


class UserError(Exception):
    """Something that the user can fix. Reads as `WHAT (PATH). NEXT STEP`."""

    def __init__(
        self, what: str, path: os.PathLike[str] | str | None = None, next_step: str = "", code: int = BAD_INPUT
    ):
        super().__init__(what, path, next_step, code)
        self.what, self.path, self.next_step, self.code = what, path, next_step, code

    def __str__(self) -> str:
        where = f" ({self.path})" if self.path is not None else ""
        text = f"{self.what}{where}." + (f" {self.next_step}" if self.next_step else "")
        return printable(text)


class Stopped(Exception):
    """A signal ended the run after its last finished iteration was saved. code: 75, or 130 for Ctrl-C."""

    def __init__(self, what: str, code: int):
        super().__init__(what, code)
        self.what, self.code = what, code


def printable(text: str) -> str:
    """The text with control characters and undecodable bytes escaped: a file name must not break the line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`Did you mean 'lr'?`, or an empty string when nothing is near."""
    near = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f"Did you mean '{near[0]}'?" if near else ""
