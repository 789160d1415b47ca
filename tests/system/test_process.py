"""Settings of a whole process, each tried in a process of its own where it could not be taken back."""

import errno
import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from ignite_vision.system import process


def python(program, shell="", **options):
    """Run a program in a fresh process, its streams redirected as the shell words say: (exit code, stdout, stderr)."""
    words = ["bash", "-c", f'exec "$@" {shell}', "bash", sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, **options)
    return done.returncode, done.stdout, done.stderr


def test_importing_it_changes_nothing_and_does_not_import_torch():
    program = """
import gc, logging, signal, sys, warnings
def settings():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return gc.isenabled(), list(warnings.filters), list(logging.getLogger("ignite").handlers), sys.stderr, handlers
before = settings()
from ignite_vision.system import process
assert settings() == before
assert "torch" not in sys.modules
"""
    assert python(program) == (0, "", "")


# Streams


def test_a_stream_whose_reader_is_gone_loses_its_text_and_says_why():
    reader, writer = os.pipe()
    os.close(reader)
    with process.Output(writer, "wb") as output:
        assert output.write(b"text") == 4
        assert output.lost.errno == errno.EPIPE


@pytest.mark.parametrize("shell", ["2> /dev/full", "2>&-", "> /dev/full", ">&-", "<&- >&- 2>&-", "2>&1 | head -c 1"])
def test_no_write_to_a_standard_stream_raises_whatever_became_of_it(shell, tmp_path):
    program = """
import sys, warnings
from pathlib import Path
from ignite_vision.system import process
process.outlive_output()
for stream in (sys.stdout, sys.stderr):
    for _ in range(20):
        print("x" * 10_000, file=stream, flush=True)
    stream.isatty()
Path("survived").touch()
"""
    python(program, f"{shell}", cwd=tmp_path)
    assert (tmp_path / "survived").exists()


def test_no_file_gets_the_number_of_a_stream_that_is_closed(tmp_path):
    program = """
import os
from ignite_vision.system import process
process.outlive_output()
with open("weights", "wb") as file:
    assert file.fileno() > 2
    os.write(2, b"what a library says")
"""
    assert python(program, "<&- 2>&-", cwd=tmp_path)[0] == 0
    assert (tmp_path / "weights").read_bytes() == b""


def test_what_is_printed_is_printed():
    program = """
import sys
from ignite_vision.system import process
print("before")
process.outlive_output()
print("after \\u00b7")
print("error \\u00b7 \\udcff", file=sys.stderr)
process.leave(3)
"""
    assert python(program, env={**os.environ, "PYTHONUTF8": "1"}) == (3, "before\nafter ·\n", "error · \\udcff\n")


@pytest.mark.parametrize(
    ("shell", "code", "words"), [("> /dev/full", 4, "cannot write to stdout"), ("| head -0", 0, "")]
)
def test_results_that_a_full_disk_lost_are_an_error_those_that_nobody_reads_are_none(shell, code, words):
    program = "from ignite_vision.system import process; process.outlive_output(); print('x'); process.leave(0)"
    returned, _, err = python(program, f"{shell}; exit ${{PIPESTATUS[0]}}".replace("exec ", ""))
    assert (returned, words in err, "Traceback" in err) == (code, True, False)


# Start


def test_nothing_is_collected_until_garbage_collection_is_resumed():
    program = """
import gc
from ignite_vision.system import process
process.resume_garbage_collection()
assert gc.get_freeze_count() == 0  # it was not paused
process.pause_garbage_collection()
assert not gc.isenabled()
process.resume_garbage_collection()
assert gc.isenabled() and gc.get_freeze_count() > 0
"""
    assert python(program) == (0, "", "")


@pytest.mark.parametrize("module", process.SILENT)
def test_what_is_silenced_exists(module):
    assert importlib.util.find_spec(module)


# Computing


def test_keeping_freed_memory_changes_no_result():
    layer, images = torch.nn.Conv2d(3, 8, 3), torch.rand(4, 3, 64, 64)
    before = layer(images)
    process.keep_freed_memory()
    assert layer(images).equal(before)


def test_numbers_that_are_almost_nothing_count_as_nothing_in_every_thread():
    # conftest.py has called tune_processor before the first thread began
    assert not (torch.full((1_000_000,), 1e-38) * 0.1).any()


def test_deterministic_kernels_are_asked_for_and_their_lack_is_a_warning(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    benchmark, fill = torch.backends.cudnn.benchmark, torch.utils.deterministic.fill_uninitialized_memory
    try:
        process.make_deterministic()
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark, torch.utils.deterministic.fill_uninitialized_memory = benchmark, fill
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)


# End


def test_the_process_leaves_after_all_other_exit_handlers_and_before_modules_are_taken_apart():
    program = """
import atexit, sys
from ignite_vision.system import process
codes = process.leave_at_exit()
class Module:
    def __del__(self):
        print("taken apart")
sys.kept = Module()
atexit.register(print, "told of the end")
codes.append(7)
"""
    assert python(program) == (7, "told of the end\n", "")


def test_a_process_that_was_forked_on_the_way_ends_as_python_has_it():
    program = """
import os, sys
from ignite_vision.system import process
codes = process.leave_at_exit()
if os.fork() == 0:
    sys.exit(5)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 5
codes.append(7)
"""
    assert python(program)[0] == 7


def test_leaving_ends_the_children_even_those_that_ignore_sigterm():
    program = """
import multiprocessing, os, signal, sys, time
from ignite_vision.system import process
def stay(ready):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    time.sleep(600)
context = multiprocessing.get_context("fork")
ready = context.Event()
child = context.Process(target=stay, args=(ready,))
child.start()
ready.wait()
process.leave(75)
"""
    assert python(program) == (75, "", "")  # stdout has come to its end: the child, which holds it too, is gone
