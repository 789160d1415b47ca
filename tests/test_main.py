"""The command as a process: what becomes of it when its output, its terminal or its patience is lost."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ignite_vision.system.process import SPINS

# Sets what SIGHUP does, then becomes the command: pytest itself may have been started by nohup.
WITH_HANGUP = (
    "import os, signal, sys\n"
    "signal.signal(signal.SIGHUP, getattr(signal, sys.argv[1]))\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'ignite_vision', *sys.argv[2:]])"
)


def shell(words, *arguments):
    """Run `ignite-vision ARGUMENTS`, its streams redirected as the shell words say: (exit code, stdout, stderr)."""
    command = f'"$@" {words}; exit ${{PIPESTATUS[0]}}'
    names = [sys.executable, "-m", "ignite_vision", *map(str, arguments)]
    done = subprocess.run(["bash", "-c", command, "bash", *names], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def epochs(run):
    """Return how many epochs a run has in its history, if it has its results."""
    assert json.loads((run / "metrics.json").read_text())["split"] == "test"
    return len((run / "history.jsonl").read_text().splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("words", ["2>&1 | head -1", "2>&-", "2> /dev/full", "> /dev/null 2>&1 <&-", ">&- 2>&-"])
def test_training_survives_the_loss_of_its_output(tmp_path, words):
    code, _, err = shell(words, "run", "digits", "--epochs", 3, "--out", tmp_path / "run")
    assert (code, epochs(tmp_path / "run")) == (0, 3), err


@pytest.mark.slow
def test_two_processes_survive_the_loss_of_their_output(tmp_path):
    arguments = ("run", "digits", "--epochs", 2, "--nproc-per-node", 2, "--out", tmp_path / "run")
    code, _, err = shell("2>&1 | head -1", *arguments)
    assert (code, epochs(tmp_path / "run")) == (0, 2), err


def test_results_that_could_not_be_written_are_an_error():
    code, _, err = shell("> /dev/full", "list")
    assert (code, err) == (4, "error: cannot write to stdout: No space left on device. " + err.partition(". ")[2])
    assert len(err.splitlines()) == 1


def test_results_that_nobody_reads_to_the_end_are_none():
    assert shell("| head -0", "list") == (0, "", "")


def hung_up(tmp_path, handler):
    """Start a run for which SIGHUP is as named, hang up in epoch 5, and return its exit code and what it said then."""
    arguments = [handler, "run", "digits", "--epochs", "40", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_HANGUP, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    with process:
        for line in process.stderr:
            if line.startswith("epoch  5/40"):
                process.send_signal(signal.SIGHUP)
                break
        return process.wait(timeout=60), process.stderr.read()


@pytest.mark.slow
def test_when_the_terminal_is_closed_the_run_is_saved(tmp_path):
    code, said = hung_up(tmp_path, "SIG_DFL")
    assert code == 75, said
    assert "stopped by SIGHUP after iteration" in said
    assert "saved" in said
    assert list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.slow
def test_under_nohup_it_trains_to_its_end(tmp_path):
    code, said = hung_up(tmp_path, "SIG_IGN")
    assert (code, epochs(tmp_path / "run")) == (0, 40), said


@pytest.mark.slow
def test_a_recipe_that_exits_with_a_text_is_exit_code_1(tmp_path):
    (tmp_path / "mine.py").write_text("import sys\nsys.exit('not today')\n")
    code, _, err = shell("", "run", tmp_path / "mine.py", "--out", tmp_path / "run")
    assert (code, "Traceback" in err) == (1, False), err
    assert "not today" in err


# Becomes a user who is not root, to whom nothing is forbidden, and then the program.
AS_A_USER = (
    "import os, sys\n"
    "if os.getuid() == 0:\n    os.setresuid(65534, 65534, 65534)\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


@pytest.fixture
def as_a_user():
    """Return a function that runs Python as a user whose $HOME may not be read, in a folder of theirs."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        (Path(folder) / "home").mkdir(mode=0o000)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "IGNITE_VISION_"))}
        environ |= {"HOME": f"{folder}/home", "TMPDIR": folder, "PYTHONDONTWRITEBYTECODE": "1"}

        def run(*words):
            words = [sys.executable, "-c", AS_A_USER, *words]
            return subprocess.run(words, env=environ, cwd=folder, capture_output=True, text=True)

        if run("-c", "import ignite_vision.cli").returncode:
            pytest.skip("another user may not read this installation")
        yield run


@pytest.mark.slow
def test_digits_needs_no_home_folder(as_a_user):
    done = as_a_user("-m", "ignite_vision", "run", "digits", "--epochs", "1")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="torch has another OpenMP there")
@pytest.mark.parametrize(("given", "spins"), [({}, SPINS), ({"GOMP_SPINCOUNT": "77"}, "77")])
def test_threads_that_wait_for_each_other_soon_sleep_unless_the_user_says_otherwise(given, spins):
    plain = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, "-m", "ignite_vision", "run", "digits", "--dry-run"]
    done = subprocess.run(
        command, env={**plain, **given, "OMP_DISPLAY_ENV": "VERBOSE"}, capture_output=True, text=True, timeout=300
    )
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
