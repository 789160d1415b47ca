"""A run's directory: who holds it, and what state it is in."""

import os
import subprocess
import sys

import pytest

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.run_directory import RunDirectory


def test_two_commands_cannot_hold_one_directory(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    program = (
        "from pathlib import Path; from ignite_vision.run_directory import RunDirectory\n"
        f"with RunDirectory(Path({str(directory)!r})).claimed(): pass"
    )
    with directory.claimed():
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert f"in use by pid {os.getpid()} on" in done.stderr
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


def test_a_folder_of_something_else_is_not_taken(tmp_path):
    (tmp_path / "recipe.py").write_text("precious")
    with pytest.raises(UserError, match="a folder but not a run directory"), RunDirectory(tmp_path).claimed():
        pass
    assert (tmp_path / "recipe.py").read_text() == "precious"


def test_a_file_is_not_a_directory(tmp_path):
    (tmp_path / "run").write_text("precious")
    with pytest.raises(UserError, match="--out is a file"), RunDirectory(tmp_path / "run").claimed():
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", "[" * 100_000])
def test_damaged_settings_are_one_line_and_exit_3(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match="cannot read run.json") as failure:
        RunDirectory(tmp_path).read_settings()
    assert failure.value.code == DAMAGED


def test_settings_of_another_format_say_what_to_do(tmp_path):
    (tmp_path / "run.json").write_text('{"format_version": 1}')
    with pytest.raises(UserError, match="format 1, this version reads 2.*another --out"):
        RunDirectory(tmp_path).read_settings()


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "[" * 100_000])
def test_damaged_results_are_one_line_and_a_way_on(tmp_path, text):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(UserError, match="cannot read metrics.json.*Delete it") as failure:
        RunDirectory(tmp_path).read_metrics()
    assert failure.value.code == DAMAGED


def test_a_recipe_may_keep_files_of_its_own_beside_the_others(tmp_path):
    assert RunDirectory(tmp_path) / "mine.txt" == tmp_path / "mine.txt"
