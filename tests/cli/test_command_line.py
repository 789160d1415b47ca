"""The group of commands: what it offers, how it answers what it does not know, and how a process ends."""

import sys
from pathlib import Path

import click
import pytest

from ignite_vision import __version__, cli
from ignite_vision.cli import commands
from tests.helpers.command_line import assert_one_error_line, command

COMMANDS = (
    *("run", "resume", "evaluate", "predict", "export", "serve", "benchmark", "probe"),
    *("check", "report", "compare"),
    *("list", "show", "doctor"),
)


def test_version_is_printed(ignite_vision):
    assert ignite_vision("--version")[1] == f"ignite-vision, version {__version__}\n"


def test_help_names_every_command_with_a_whole_sentence(ignite_vision):
    _, out, _ = ignite_vision("--help")
    rows = out.partition("Commands:\n")[2].splitlines()
    assert sorted(row.split()[0] for row in rows) == sorted(COMMANDS)
    assert all(row.endswith(".") and not row.endswith("...") for row in rows)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_says_what_each_option_does(ignite_vision, name):
    code, out, _ = ignite_vision(name, "--help")
    assert code == 0
    assert out.startswith(f"Usage: ignite-vision {name}")
    for parameter in cli.cli.commands[name].params:
        assert not isinstance(parameter, click.Option) or parameter.help


def test_without_a_command_the_help_is_shown(ignite_vision):
    _, out, err = ignite_vision()
    assert "Commands:" in out + err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["evaluat"], ["no such command 'evaluat'", "See `ignite-vision --help`."]),
        (["--hlep"], ["no such option", "--hlep", "--help", "See `ignite-vision --help`."]),
        (
            ["run", "digits", "--epoch", "3"],
            ["no such option", "--epoch", "--epochs", "See `ignite-vision run --help`"],
        ),
        (["evaluate", "run", "--spilt", "val"], ["no such option", "--split", "See `ignite-vision evaluate --help`"]),
        (["resume"], ["missing argument 'RUN'", "See `ignite-vision resume --help`"]),
        (["run", "digits", "cifar10"], ["unexpected extra argument (cifar10)"]),
    ],
)
def test_wrong_arguments_are_one_line_with_a_next_step(ignite_vision, arguments, parts):
    result = ignite_vision(*arguments)
    assert_one_error_line(result, *parts)
    assert len(result[2].splitlines()) == 1


def test_a_module_in_a_folder_of_commands_is_a_command(ignite_vision, tmp_path, monkeypatch):
    lines = ["import click", "@click.command()", "def greet():", "    'Say hello.'", "    click.echo('hello')"]
    (tmp_path / "greeting.py").write_text("\n".join(lines))
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    try:
        assert ignite_vision("greet") == (0, "hello\n", "")
        assert "Say hello." in ignite_vision("--help")[1]
    finally:
        cli.cli.commands.pop("greet", None)
        sys.modules.pop(f"{commands.__name__}.greeting", None)


def test_the_traceback_comes_only_with_debug(ignite_vision):
    assert "Traceback" in ignite_vision("--debug", "run", "digit")[2]


def test_an_error_in_a_fresh_process_is_one_line_too(tmp_path):
    done = command("run", "nothing-like-it", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no recipe 'nothing-like-it'")
    assert len(done.stderr.splitlines()) == 1
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.slow
def test_what_a_recipe_wants_to_do_at_exit_is_done_and_a_bug_is_a_traceback(tmp_path):
    recipe = "import atexit, threading, time\nfrom ignite_vision.recipes.digits import recipe\n"
    recipe += "atexit.register(print, 'at exit')\n"
    recipe += "threading.Thread(target=lambda: (time.sleep(5), print('by a thread'))).start()\n"
    (tmp_path / "mine.py").write_text(recipe)
    done = command("run", tmp_path / "mine.py", "--epochs", "1", "--out", tmp_path / "run")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-2:] == ["by a thread", "at exit"]
    (tmp_path / "buggy.py").write_text(recipe + "import dataclasses\nrecipe = dataclasses.replace(recipe, loss=max)\n")
    done = command("run", tmp_path / "buggy.py", "--epochs", "1", "--out", tmp_path / "buggy")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("RuntimeError: The size of tensor")
    assert done.stdout.splitlines()[-2:] == ["by a thread", "at exit"]
