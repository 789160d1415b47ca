"""TODO."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from typing import TYPE_CHECKING

import torch

from ignite_vision.data.containers import ImageFiles, Images
from ignite_vision.errors import STOPPED, UserError
from ignite_vision.loading.sources import Mapped, Resident, Source, Views
from ignite_vision.system import distributed
from ignite_vision.system.memory import SHARED_MEMORY, free_shared_memory

if TYPE_CHECKING:
    from ignite_vision.training.run import Run

PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent ends
PREFETCH = 2  # batches that each worker prepares ahead: torch's default
SHM_SHARE = 0.8  # of the free shared memory that batches on their way may take


class WorkerKilled(UserError):
    """A loader worker is gone: most likely the system ran out of memory and killed it."""

    def __init__(self) -> None:
        what = "a loader worker was killed, probably because memory ran out"
        super().__init__(what, next_step="Use fewer --workers; the same command goes on.", code=STOPPED)


def workers_for(run: Run, source: Source, batch: int) -> int:
    """Processes that a source needs: none for rows in memory, and no more than /dev/shm has room for."""
    if isinstance(source, Resident | Views) or (isinstance(source, Mapped) and run.device.type == "cpu"):
        return 0
    size = batch * run.preprocessing.channels * run.canvas.size**2
    room = int(SHM_SHARE * free_shared_memory() / (size * (PREFETCH + 1)) / distributed.local_count())
    if room < run.workers:
        run.say(
            f"warning: {room} of {run.workers} loader workers: shared memory is small"
            f" ({SHARED_MEMORY}). In Docker, pass --shm-size 2g."
        )
        run.workers = room  # said once: the run's other loaders ask for no more than this
    return run.workers


def _begin_worker(_worker: int) -> None:
    """Leave signals to the main process, which saves first, and end when it ends: torch looks for that every 5 s."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if multiprocessing.get_start_method() == "fork" and parent is not None and os.getppid() != parent.pid:
            os._exit(1)  # it ended before this line


def kill_workers() -> None:
    """End every child at exit: Python would wait for ever for one that ignores SIGTERM."""
    for child in multiprocessing.active_children():
        child.kill()


def default_workers(device: torch.device, images: Images) -> int:
    """One per processor, but no more than eight: decoding is shared, the step takes the rest.

    None for files on a CPU: there the batch is decoded by threads, and nothing is gained by a process that waits
    for the same processors but pays for its copy of the memory (features of DenseNet-121: 37 s instead of 27).
    """
    if device.type == "cpu" and isinstance(images, ImageFiles):
        return 0
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)
