"""A signal is a wish to stop: it sets a flag, and the run saves before it leaves."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from ignite_vision.errors import INTERRUPTED, STOPPED, Stopped

WATCHED = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class StopFlag:
    """Within `with StopFlag() as flag`, the first signal sets the flag; a second one ends the process at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is threading.main_thread():  # only there may handlers be set
            self.previous = {number: signal.signal(number, self._note) for number in WATCHED}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)  # the checkpoint before this one is whole
        self.received = number

    def check(self) -> None:
        """Raise Stopped if a signal has come."""
        if self.received is None:
            return
        name = signal.Signals(self.received).name
        raise Stopped(f"stopped by {name}", INTERRUPTED if self.received == signal.SIGINT else STOPPED)
