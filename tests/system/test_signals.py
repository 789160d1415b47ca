"""A signal sets a flag; the run looks at it when it can stop."""

import os
import signal
import subprocess
import sys

import pytest

from ignite_vision.errors import Stopped
from ignite_vision.system.signals import StopFlag


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 75), ("SIGUSR1", 75)])
def test_the_first_signal_becomes_a_stop_with_its_exit_code(name, code):
    with StopFlag() as flag:
        flag.check()
        os.kill(os.getpid(), getattr(signal, name))
        with pytest.raises(Stopped, match="stopped by (Ctrl-C|SIG)") as stop:
            flag.check()
    assert stop.value.code == code


def test_the_handlers_that_were_there_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopFlag():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_signal_ends_the_process_at_once():
    program = (
        "import os, signal, time\nfrom ignite_vision.signals import StopFlag\n"
        "with StopFlag():\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(0.6)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 128 + signal.SIGTERM
