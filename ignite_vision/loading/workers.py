"""Processes that read batches ahead: how many, how they begin, how they end."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

from ignite_vision.data.preprocessing import Canvas
from ignite_vision.errors import STOPPED, UserError
from ignite_vision.loading.sources import Source
from ignite_vision.prepare import Reading
from ignite_vision.system import distributed
from ignite_vision.system.memory import SHARED_MEMORY, free_shared_memory
from ignite_vision.system.signals import ignore_signals

PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent ends
PREFETCH = 2  # batches that each worker prepares ahead: torch's default
SHM_SHARE = 0.8  # of the free shared memory that batches on their way may take


class WorkerKilled(UserError):
    """A loader worker is gone: most likely the system ran out of memory and killed it."""

    def __init__(self) -> None:
        what = "a loader worker was killed, probably because memory ran out"
        super().__init__(what, next_step="Run the same command again with fewer --workers; it resumes.", code=STOPPED)


def workers_for(source: Source, batch: int, canvas: Canvas, reading: Reading) -> int:
    """Processes that a source needs: none for rows in memory, and no more than /dev/shm has room for."""
    if not source.wants_workers(reading.device):
        return 0
    size = batch * canvas.bytes
    room = int(SHM_SHARE * free_shared_memory() / (size * (PREFETCH + 1)) / distributed.local_count())
    if room < reading.workers:
        reading.say(
            f"warning: {room} of {reading.workers} loader workers: shared memory is small"
            f" ({SHARED_MEMORY}). In Docker, pass --shm-size 2g."
        )
    return min(room, reading.workers)


def begin_worker(_worker: int) -> None:
    """Leave signals to the main process, which saves first, and end when it ends: torch looks for that every 5 s."""
    ignore_signals()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if multiprocessing.get_start_method() == "fork" and parent is not None and os.getppid() != parent.pid:
            os._exit(1)  # it ended before this line
