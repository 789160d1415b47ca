"""Every setting that holds for a whole process, and what it does to whoever makes it.

Importing this module changes nothing, and does not import torch; calling does. The `ignite-vision` command makes all
of these settings. A custom program that calls `fit` gets none of them, and may call `tune_processor`.

    outlive_output               standard streams that nobody reads, or that are closed or full, raise no more
    pause_garbage_collection     nothing is collected until resume_garbage_collection: for the imports
    quieten_libraries            three warnings and one logger are silent
    processors                   (changes nothing) how many there are for this process
    share_processors             threads that wait for each other soon give up their processor
    tune_processor               keep_freed_memory and flush_denormals: faster on a CPU
    ready_to_compute             tune_processor and resume_garbage_collection, when everything is imported
    make_deterministic           CUDA chooses kernels that repeat their bits
    leave_at_exit                the exit handlers run, then the process ends at once
    leave, leave_now             the process ends here, and its children with it

Elsewhere, since they belong to their subject: handlers of signals (signals.py), and the variables that a process of
several needs before torch is loaded (distributed.py, cli/launch.py).
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import io
import logging
import multiprocessing
import os
import sys
import warnings
from typing import Any, NoReturn, TextIO

from ignite_vision.errors import NOT_SAVED

SPINS = "5000"  # some 50 µs; libgomp's own 300,000 are milliseconds
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc
# Their warnings are of damaged files, which get an error of ours; of a deprecated decoder; of as many workers as were
# asked for.
SILENT = ("PIL", "ignite_vision.data.images", "torch.utils.data.dataloader")

# ----------------------------------------------------------------------------------------------------------------------
# Standard streams
# ----------------------------------------------------------------------------------------------------------------------


class Output(io.FileIO):
    """A standard stream that outlives its reader (`| head`), its terminal and its disk: what it cannot write is lost.

    lost: the last error, or None.
    """

    lost: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, or forget, bytes. How many."""
        try:
            return super().write(data)
        except OSError as error:
            self.lost = error
            return len(data)


def outlive_output() -> None:
    """Have no write to stdout or stderr raise, whatever became of them: a training is worth more than its messages.

    Descriptors 0 to 2 that are closed (`2>&-`) lead to the null device: else the next file opened, a checkpoint say,
    would get the number, and with it whatever a library writes to stderr.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number: this one
    sys.stdout = _outliving(sys.stdout, 1)
    sys.stderr = _outliving(sys.stderr, 2)


def _outliving(stream: TextIO | Any, number: int) -> io.TextIOWrapper:
    """The same stream over an Output. stream: None where the descriptor was closed."""
    if stream is not None:
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(Output(number, "wb", closefd=False)),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors=getattr(stream, "errors", "backslashreplace"),
        line_buffering=getattr(stream, "line_buffering", True),
        write_through=getattr(stream, "write_through", False),
    )


# ----------------------------------------------------------------------------------------------------------------------
# Start
# ----------------------------------------------------------------------------------------------------------------------


def pause_garbage_collection() -> None:
    """Collect nothing for now: while modules are imported there is no garbage, and looking for it takes a second."""
    gc.disable()


def resume_garbage_collection() -> None:
    """Collect again, if it was paused; what is there by now (the modules) is never looked at again."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def quieten_libraries() -> None:
    """Filter the warnings of SILENT, and have the logger `ignite` say nothing where nobody set up logging."""
    for module in SILENT:
        warnings.filterwarnings("ignore", module=module)
    logging.getLogger("ignite").addHandler(logging.NullHandler())  # what an engine raises the command prints, once


# ----------------------------------------------------------------------------------------------------------------------
# Computing
# ----------------------------------------------------------------------------------------------------------------------


def processors() -> int:
    """How many this process may use: under taskset, SLURM or a container's cpuset fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_processors() -> None:
    """Have OpenMP's threads, of this process and its children, soon sleep while they wait for each other.

    One that waits awake keeps a processor that the one it waits for may need: on two cores an epoch of the digits is
    1.43 times as fast this way beside one other program that computes, 2.35 times beside four, and as fast alone within
    the noise (`python -m benchmarks --only waiting`). To be called before torch is loaded; what the user has set stays.
    No result changes.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS


def tune_processor() -> None:
    """Set this process up to compute fast on a CPU: before the first tensor, since threads inherit it."""
    keep_freed_memory()
    flush_denormals()


def ready_to_compute() -> None:
    """Set the process up for what a command does after its imports."""
    tune_processor()
    resume_garbage_collection()


def flush_denormals() -> None:
    """Have numbers below 1e-38 count as 0, as on a GPU, in this thread and those that it starts. Changes last bits.

    Adam's averages for weights without gradients, those of dead units, fade into such numbers and stay there, and a
    CPU multiplies them many times slower (`python -m benchmarks --only small` has the difference).
    """
    import torch

    torch.set_flush_denormal(True)


def keep_freed_memory() -> None:
    """Have glibc keep large blocks for the next batch instead of returning them to the system after each layer.

    Asking for them again, page by page, takes up to 40 % of a forward pass on a CPU: on 2 cores keeping them is 1.64
    times as fast with mobilenet_v2, 1.30 with densenet121, 1.55 with resnet50 (`python -m benchmarks --only
    allocator`). No result changes; the process stays as large as it ever was.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 1 << 26)


def make_deterministic() -> None:
    """Have CUDA choose kernels that give the same bits each time, where there are any; torch warns where not.

    Sets CUBLAS_WORKSPACE_CONFIG, for this process and its children, unless it is set.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


# ----------------------------------------------------------------------------------------------------------------------
# End
# ----------------------------------------------------------------------------------------------------------------------


def leave_at_exit() -> list[int]:
    """Have the process leave as its very last exit handler, with the code appended to the list that is returned.

    To be called first: exit handlers run last to first, so whatever else wants to be told of the end was told. Python
    would then take torch's modules apart, which takes a second. Without a code, as in a process that was forked on the
    way, nothing is done.
    """
    codes: list[int] = []
    atexit.register(lambda: leave(codes[0]) if codes else None)
    return codes


def leave(code: int) -> NoReturn:
    """Flush what was printed and end the process with its children, without waiting for what may hang.

    A thread or a worker that reads from a dead disk would hang. Code 0 becomes 4 (NOT_SAVED) when stdout went to a
    file that could not be written.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # full, closed, None
            stream.flush()
    if code == 0 and (lost := _lost_results()):
        code = NOT_SAVED
        with contextlib.suppress(OSError):
            os.write(
                2, f"error: cannot write to stdout: {lost.strerror}. Free some space and repeat the command.\n".encode()
            )
    leave_now(code)


def _lost_results() -> OSError | None:
    """Why stdout lost text. None if it did not, or if its reader wanted no more (`| head`)."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    lost = raw.lost if isinstance(raw, Output) else None
    return lost if lost is not None and lost.errno != errno.EPIPE else None


def leave_now(code: int) -> NoReturn:
    """End the process and its children here, flushing nothing: safe in the handler of a signal.

    What is on the disk is whole: every file appears in one step.
    """
    kill_children()
    os._exit(code)


def kill_children() -> None:
    """End every child that multiprocessing started here: Python would wait for ever for one that ignores SIGTERM."""
    for child in multiprocessing.active_children():
        child.kill()
