"""What is printed, by whom, and the exit code that a failure becomes."""

import errno
import os
import warnings

import click
import pytest

from ignite_vision.cli import console
from ignite_vision.errors import DAMAGED, Stopped, UserError
from ignite_vision.system import distributed


def failing(error):
    """Return work that fails."""

    def work():
        raise error

    return work


def test_work_that_is_done_is_exit_code_0_and_gets_its_arguments(capsys):
    found = []
    assert console.guarded(lambda *words, **options: found.append((words, options)), 1, split="val") == 0
    assert found == [((1,), {"split": "val"})]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            UserError("no such folder", "a/b", "Check --data.", DAMAGED),
            3,
            "error: no such folder (a/b). Check --data.",
        ),
        (
            Stopped("stopped by SIGTERM after iteration 7, saved.", 75),
            75,
            "stopped by SIGTERM after iteration 7, saved.",
        ),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C. Run the same command again and it resumes."),
        (click.Abort(), 130, "stopped by Ctrl-C. Run the same command again and it resumes."),
        (click.UsageError("No such option: --epoch"), 2, "error: no such option: --epoch."),
        (click.UsageError("Did you mean --epochs?"), 2, "error: did you mean --epochs?"),
        (
            click.UsageError("Missing argument", click.Context(click.Command("run"), info_name="run")),
            2,
            "error: missing argument. See `run --help`.",
        ),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/history.jsonl"),
            4,
            "error: cannot write: No space left on device (run/history.jsonl)."
            " What is saved stays. Run the same command again and it resumes.",
        ),
    ],
)
def test_a_failure_that_was_foreseen_is_one_line_and_an_exit_code(capsys, monkeypatch, error, code, line):
    monkeypatch.setattr("sys.argv", ["ignite-vision"])
    assert console.guarded(failing(error)) == code
    assert capsys.readouterr() == ("", line + "\n")


@pytest.mark.parametrize("error", [ZeroDivisionError(), PermissionError(errno.EACCES, "not allowed")])
def test_a_failure_that_nobody_foresaw_is_raised(error):
    with pytest.raises(type(error)):
        console.guarded(failing(error))


def test_debug_shows_where_a_foreseen_failure_came_from(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["ignite-vision", "--debug"])
    console.guarded(failing(UserError("no such folder")))
    err = capsys.readouterr().err
    assert "Traceback" in err and err.endswith("error: no such folder.\n")


def test_of_several_processes_only_the_first_speaks_but_all_complain(capsys, monkeypatch):
    console.say("by the first")
    monkeypatch.setattr(distributed, "is_first", lambda: False)
    console.say("by another")
    console.complain("whoever it is")
    assert capsys.readouterr().err == "by the first\nerror: whoever it is\n"


def test_what_is_set_up_silences_our_own_warnings_and_no_others(monkeypatch):
    monkeypatch.setattr(console, "leave_on_signals", lambda: None)  # pytest has its own
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        console.set_up()
        for module in ("PIL.Image", "ignite_vision.data.images", "mine"):
            warnings.warn_explicit(module, UserWarning, "file.py", 1, module=module)
    assert [str(warning.message) for warning in seen] == ["mine"]


def test_columns_of_a_table_are_of_one_width_and_a_row_may_end_early():
    assert list(console.aligned([["a", "bb", "c"], ["long", "b"]])) == ["a     bb  c", "long  b"]
