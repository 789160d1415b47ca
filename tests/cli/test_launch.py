"""One process or several: how work that ends in some way becomes an exit code."""

import os
import signal
import time

import pytest
import torch

from ignite_vision.cli import launch
from ignite_vision.errors import STOPPED, Stopped, UserError
from ignite_vision.system import distributed
from tests.helpers.children import CONTEXT


def fail(error):
    """Be work that fails."""
    raise error


def test_work_is_called_here_where_one_process_is_wanted():
    for processes in (None, 1):
        found = []
        launch.launch(processes, "cpu", found.append, "argument")
        assert found == ["argument"]


def test_a_number_of_processes_is_refused_where_torchrun_has_one(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--nproc-per-node does not apply where torchrun or srun starts"):
        launch.launch(2, "cpu", print)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(launch, "has_cuda", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        UserError, match="4 processes need 4 GPUs; there are 1. Lower --nproc-per-node, or use --device"
    ):
        launch.launch(4, "cuda", print)


@pytest.mark.parametrize("words", ["Connection closed by peer", "Timed out waiting", "NCCL error"])
def test_a_lost_connection_is_a_stop_that_can_be_resumed(monkeypatch, words):
    monkeypatch.setattr(launch, "AFTER_YOU", 0)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    try:
        with pytest.raises(UserError, match="another process ended") as stop:
            launch._as_one_of_many(fail, RuntimeError(words))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert stop.value.code == STOPPED
    assert "Run the same command again and it resumes from the last checkpoint." in str(stop.value)


def test_a_failure_of_the_first_process_is_its_own():
    with pytest.raises(RuntimeError, match="a bug of mine"):
        launch._as_one_of_many(fail, RuntimeError("a bug of mine"))


def stopped_second(ready):
    """Be a process that is not the first, and was stopped."""
    distributed.is_first = lambda: False

    def stop():
        ready.set()
        raise Stopped("stopped by SIGUSR1", 75)

    launch._as_one_of_many(stop)


@pytest.mark.slow
def test_a_process_that_is_ended_while_the_first_speaks_keeps_its_exit_code():
    ready = CONTEXT.Event()
    process = CONTEXT.Process(target=stopped_second, args=(ready,))
    process.start()
    assert ready.wait(60)
    time.sleep(0.5)  # of the 4 s that it waits for
    os.kill(process.pid, signal.SIGTERM)
    process.join(2)
    assert process.exitcode == 75
