"""What a signal does, and who decides it.

Outside of training   nothing is half done that a later command could not do again, since every file appears in one
                      step. `leave_on_signals`: the process says so and ends, at once. Nothing is raised.
While a run trains    `with StopFlag() as flag`: the first signal is noted, nothing more. The flag decides where the
                      training is left: it raises Stopped between two iterations of an engine that is being watched,
                      or while that engine waits for a batch that does not come. A second signal, half a second later
                      or more, ends the process at once, and what was not saved is lost.
What a stop means     is decided by who catches Stopped: training.fit() saves and says how to resume, the command line
                      turns the exception's code into its exit code.
Which engines         are watched, and when, fit() decides: the trainer, and the evaluator only while fit's own
                      validation runs it. A recipe's handler is therefore never interrupted, even if it runs
                      `run.evaluator` itself: its lines are done before the run stops, or the process was killed.
In a loader worker    `ignore_signals`: the main process saves first, and ends its workers.

Signals: SIGINT (Ctrl-C), SIGTERM, SIGUSR1 (a job queue's warning), and SIGHUP (the terminal is gone) unless it was
ignored when the process began: that is what `nohup` does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from ignite_vision.errors import INTERRUPTED, STOPPED, Stopped
from ignite_vision.system.process import leave_now

if TYPE_CHECKING:
    from ignite.engine import Engine

NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
TWICE = 0.5  # seconds within which a second signal is the same one, that reached a process by two ways
PATIENCE = 3.0  # seconds that a batch may still take after a signal; Docker kills 10 s after it
AGAIN = "Run the same command again and it resumes"


def watched() -> list[int]:
    """Numbers of the signals that stop a run, of those that this system has."""
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    return [n for n in numbers if signal.Signals(n).name != "SIGHUP" or signal.getsignal(n) != signal.SIG_IGN]


def leave_on_signals(hint: str = f"{AGAIN}.", clean: Callable[[], None] = lambda: None) -> None:
    """Have a signal end the command wherever it is. Process 1 of a container would ignore SIGTERM otherwise.

    hint: the sentence after the one that says so. clean: called before; it must not raise or wait.

    No exception does it: one raised while modules are imported, or in a callback of Python's own, is swallowed there.
    """
    main = os.getpid()

    def leave(number: int, _frame: FrameType | None) -> None:
        # not a worker that has just been forked, nor another of torchrun's processes
        if os.getpid() == main and os.environ.get("RANK", "0") == "0":
            with contextlib.suppress(OSError):  # stderr is full, or its reader is gone
                os.write(2, f"{stopped_by(number)}. {hint}".rstrip().encode() + b"\n")
            clean()
        leave_now(code_of(number))

    for number in watched():
        signal.signal(number, leave)


def ignore_signals() -> None:
    """Leave every signal to the main process: for a worker, which it ends when it has saved."""
    for number in watched():
        signal.signal(number, signal.SIG_IGN)


def leave_at_once(number: int, _frame: FrameType | None) -> None:
    """End this process and its workers now, as a handler of a signal: exit code 128 + its number, as a shell has it."""
    leave_now(128 + number)


def stopped_by(number: int) -> str:
    """`stopped by SIGTERM`, `stopped by Ctrl-C`."""
    return f"stopped by {'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name}"


def code_of(number: int) -> int:
    """Exit code: 130 after Ctrl-C, else 75."""
    return INTERRUPTED if number == signal.SIGINT else STOPPED


class StopFlag:
    """Within `with StopFlag() as flag`, the first signal sets the flag; a second one ends the process at once.

    Within `with flag.watching(engine)`, the flag stops that engine; an engine that is not watched is never stopped.
    share: of several processes, this one's signal (0 for none) -> one that any of them got. All must call it.
    """

    def __init__(self, share: Callable[[int], int] = abs) -> None:
        self.share = share
        self.received: int | None = None
        self.since = 0.0
        self.waiting = False
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is threading.main_thread():  # only there may handlers be set
            self.previous = {number: signal.signal(number, self._note) for number in watched()}
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

    @contextlib.contextmanager
    def watching(self, engine: Engine, every: int = 1) -> Iterator[None]:
        """Within, a run of this engine is left with Stopped once a signal has come, where nothing is half done.

        That is after every `every`-th iteration and all handlers attached so far; or PATIENCE seconds after the
        signal while a batch is waited for (a disk that hangs). Not where a handler has terminated the engine: it ends
        by itself. To be entered after the recipe's handlers are attached.
        """
        from ignite.engine import Events  # here: `--help` does not wait for torch

        def check() -> None:
            if not engine.should_terminate:
                self.check()

        handles = (
            engine.add_event_handler(Events.GET_BATCH_STARTED, self.wait),
            engine.add_event_handler(Events.GET_BATCH_COMPLETED, self.have),
            engine.add_event_handler(Events.ITERATION_COMPLETED(every=every), check),
        )
        try:
            yield
        finally:
            self.have()
            for handle in handles:
                handle.remove()

    def wait(self) -> None:
        """Note that a batch is asked for."""
        self.waiting = True

    def have(self) -> None:
        """Note that the batch is there."""
        self.waiting = False

    def check(self) -> None:
        """Raise Stopped if a signal has come, to any of the processes: all of them stop at the same iteration.

        Only where nothing is half done: never from within a handler of the recipe's.
        """
        number = self.share(self.received or 0)
        if number:
            raise Stopped(stopped_by(number), code_of(number))
