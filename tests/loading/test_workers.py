"""Worker processes: how many there are, and that none outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ignite_vision.loading import workers
from ignite_vision.loading.sources import Resident
from ignite_vision.loading.workers import workers_for
from tests.helpers.runs import built, said


def test_little_shared_memory_means_fewer_workers_and_says_how_to_get_more(make_run, monkeypatch):
    monkeypatch.setattr(workers, "free_shared_memory", lambda: 5 * 16 * 64)
    run = built(make_run(cache="none", workers=4))
    assert run.loaders.train.num_workers == run.loaders.val.num_workers == 1
    (warning,) = [line for line in said(run) if "--shm-size" in line]
    assert "1 of 4 loader workers" in warning


def test_rows_in_memory_need_no_worker(make_run):
    run = make_run(workers=4)
    assert workers_for(Resident(torch.zeros(4, 1, 8, 8, dtype=torch.uint8)), 16, run.canvas, run.reading) == 0


PROGRAM = """
import time
import torch
from ignite_vision.loading.loaders import make_loader

class Slow(torch.utils.data.Dataset):
    def __getitem__(self, i):
        time.sleep(60)

loader = make_loader(Slow(), [0, 1, 2, 3], workers=2, pin=False)
iterator = iter(loader)
print(*(worker.pid for worker in loader._iterator._workers), flush=True)
next(iterator)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells them on Linux alone")
def test_workers_end_with_a_parent_that_was_killed():
    parent = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    pids = list(map(int, parent.stdout.readline().split()))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert len(pids) == 2
    for _ in range(200):
        if not any(is_running(pid) for pid in pids):
            break
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in pids)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_leave_signals_to_the_main_process():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    pid = os.fork()
    if not pid:
        workers.ignore_signals()
        ignored = all(signal.getsignal(number) == signal.SIG_IGN for number in before)
        os._exit(0 if ignored else 1)
    assert os.waitpid(pid, 0)[1] == 0
