"""A signal is a wish to stop.

While a run trains it sets a flag, and the last finished iteration is saved before the run leaves. Anywhere else nothing
would be lost, and the command ends at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, NoReturn

from ignite_vision.errors import INTERRUPTED, STOPPED, Stopped

WATCHED = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
TWICE = 0.5  # seconds within which a second signal is the same one, that reached a process by two ways
PATIENCE = 3.0  # seconds that a batch may still take after a signal; Docker kills 10 s after it


def leave_on_signals() -> None:
    """Have a signal end the command wherever it is. Process 1 of a container would ignore SIGTERM otherwise.

    No exception does it: one raised while modules are imported, or in a callback of Python's own, is swallowed there.
    """
    main = os.getpid()

    def leave(number: int, _frame: FrameType | None) -> None:
        # not a worker that has just been forked, nor another of torchrun's processes
        if os.getpid() == main and os.environ.get("RANK", "0") == "0":
            os.write(2, f"{stopped_by(number)}. The same command goes on.\n".encode())
        _end(code_of(number))

    for number in WATCHED:
        signal.signal(number, leave)


def leave_at_once(number: int, _frame: FrameType | None) -> None:
    """End this process and its workers now. What is on the disk is whole: every file appears in one step."""
    _end(128 + number)


def _end(code: int) -> NoReturn:
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(code)


def stopped_by(number: int) -> str:
    """`stopped by SIGTERM`, `stopped by Ctrl-C`."""
    return f"stopped by {'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name}"


def code_of(number: int) -> int:
    """Exit code: 130 after Ctrl-C, else 75."""
    return INTERRUPTED if number == signal.SIGINT else STOPPED


class StopFlag:
    """Within `with StopFlag() as flag`, the first signal sets the flag; a second one ends the process at once.

    `check` raises Stopped between iterations. `waiting` says when a batch is waited for: if it still has not come
    PATIENCE seconds after the signal (a disk that hangs), Stopped is raised there, where nothing is half done.
    share: of several processes, this one's signal (0 for none) -> one that any of them got.
    """

    def __init__(self, share: Callable[[int], int] = abs) -> None:
        self.share = share
        self.received: int | None = None
        self.since = 0.0
        self.waiting = False
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is threading.main_thread():  # only there may handlers be set
            self.previous = {number: signal.signal(number, self._note) for number in WATCHED}
            if hasattr(signal, "SIGALRM"):
                self.previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._lose_patience)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.previous and hasattr(signal, "SIGALRM"):
            signal.alarm(0)
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            if time.monotonic() - self.since > TWICE:
                leave_at_once(number, frame)
            return
        self.received, self.since = number, time.monotonic()
        if hasattr(signal, "SIGALRM"):
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def _lose_patience(self, _number: int, _frame: FrameType | None) -> None:
        if self.waiting and self.received is not None:
            raise Stopped(stopped_by(self.received), code_of(self.received))

    def wait(self) -> None:
        """Note that a batch is asked for."""
        self.waiting = True

    def have(self) -> None:
        """Note that the batch is there."""
        self.waiting = False

    def check(self) -> None:
        """Raise Stopped if a signal has come, to any of the processes: all of them stop at the same iteration."""
        number = self.share(self.received or 0)
        if number:
            raise Stopped(stopped_by(number), code_of(number))
