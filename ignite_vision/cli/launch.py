"""Run a function in one process or in several, and turn how it ends into an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from ignite_vision.cli.console import guarded, set_up
from ignite_vision.errors import STOPPED, Stopped, UserError
from ignite_vision.system import distributed
from ignite_vision.system.nvidia import has_cuda
from ignite_vision.system.process import (
    leave_at_exit,
    leave_now,
    outlive_output,
    processors,
    ready_to_compute,
    tune_processor,
)
from ignite_vision.system.signals import AGAIN, watched

GRACE = 2.0  # seconds that the other processes have to leave once one has failed, before they are ended
AFTER_YOU = 4 * GRACE  # seconds that a process lets process 0 speak first: most errors are everyone's


def launch(processes: int | None, device: str, work: Callable[..., Any], *arguments: Any) -> None:
    """Call work(*arguments): here; as one of torchrun's or srun's processes; or in `processes` new ones.

    work and arguments must be picklable. Exits with the first failed process's code.
    """
    ready_to_compute()  # everything is imported
    if distributed.launched():
        if processes is not None:
            what = "--nproc-per-node does not apply where torchrun or srun starts the processes"
            raise UserError(what, next_step="Leave it out.")
        distributed.join(_backend(device))
        _as_one_of_many(work, *arguments)
    elif processes is None or processes == 1:
        work(*arguments)
    else:
        _spawn(processes, device, work, arguments)


def _spawn(processes: int, device: str, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if _backend(device) == "nccl" and processes > torch.cuda.device_count():
        what = f"{processes} processes need {processes} GPUs; there are {torch.cuda.device_count()}"
        raise UserError(what, next_step="Lower --nproc-per-node, or use --device cpu.")
    # where they find each other: served from here, as torchrun does, and so on a port that nobody else can take
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    variables = {
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": str(True),
        # all of them with all threads each would slow each other down many times
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, processors() // processes))),
    }
    os.environ["OMP_NUM_THREADS"] = variables["OMP_NUM_THREADS"]  # read when torch is loaded, before _rank runs
    # what a killed process leaves is cleaned up by Python, which need not say so after our last word
    quiet = (os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, quiet))
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # what it ends we know
    context = start_processes(
        _rank, args=(variables, device, work, arguments), nprocs=processes, join=False, start_method="spawn"
    )

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGINT:  # Ctrl-C reaches every process by itself
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.kill(context.processes[0].pid, number)

    for number in watched():
        signal.signal(number, pass_on)
    try:
        while not context.join(grace_period=GRACE):
            pass
    except ProcessRaisedException as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except ProcessExitedException as error:
        if error.exit_code < 0:
            what = f"process {error.error_index} of {processes} was killed by {error.signal_name}"
            hint = f"{AGAIN} from the last checkpoint."
            raise UserError(what, next_step=hint, code=STOPPED) from None
        sys.exit(error.exit_code)


def _backend(device: str) -> str:
    """NCCL between GPUs, gloo between CPUs."""
    return "nccl" if device != "cpu" and has_cuda() else "gloo"


def _rank(
    number: int, variables: dict[str, str], device: str, work: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """Be process `number`."""
    for name in list(os.environ):
        if name.startswith("SLURM_"):  # of the job that all of us are in: idist would take them for ours
            del os.environ[name]
    os.environ.update(variables, RANK=str(number), LOCAL_RANK=str(number))
    codes = leave_at_exit()
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    outlive_output()
    set_up()
    tune_processor()
    distributed.join(_backend(device))
    codes.append(guarded(_as_one_of_many, work, *arguments))
    sys.exit(codes[0])


def _as_one_of_many(work: Callable[..., Any], *arguments: Any) -> None:
    """Do the work; when it fails, let process 0 speak first, and whoever ends us have the time for it."""
    try:
        work(*arguments)
        distributed.barrier()
        distributed.part()
    except BaseException as error:
        lost = isinstance(error, RuntimeError) and _is_lost_connection(error)
        if not distributed.is_first() or lost:
            code = STOPPED if lost else error.code if isinstance(error, Stopped | UserError) else 1
            for number in watched():  # whoever ends us is to see why: srun passes the largest code on
                signal.signal(number, lambda *_: leave_now(code))
            time.sleep(2 * AFTER_YOU if lost else AFTER_YOU)
        if lost:
            what = "another process ended, or did not answer in time"
            hint = f"If it said why, that is above. {AGAIN} from the last checkpoint."
            raise UserError(what, next_step=hint, code=STOPPED) from error
        raise


def _is_lost_connection(error: RuntimeError) -> bool:
    """Whether torch says that a peer is gone or silent."""
    words = ("Connection closed", "Connection reset", "Timed out", "timed out", "timeout", "Broken pipe", "NCCL")
    return isinstance(error, torch.distributed.DistError) or any(word in str(error) for word in words)
