"""Errors read as one line that says what, where and what next."""

import pickle
from pathlib import Path

from ignite_vision.errors import BAD_INPUT, DAMAGED, UserError, did_you_mean


def test_an_error_reads_what_path_next_step():
    error = UserError("no class folders", Path("/data"), "Make one folder per class.")
    assert str(error) == "no class folders (/data). Make one folder per class."
    assert error.code == BAD_INPUT


def test_path_and_next_step_may_be_missing():
    assert str(UserError("no recipe 'x'")) == "no recipe 'x'."


def test_an_error_survives_the_way_from_another_process():
    error = pickle.loads(pickle.dumps(UserError("bad", Path("/a"), "Remove it.", DAMAGED)))
    assert (str(error), error.code) == ("bad (/a). Remove it.", DAMAGED)


def test_a_file_name_cannot_break_the_line():
    assert str(UserError("bad", "a\nb\x1b[31m\udcff")) == r"bad (a\nb\x1b[31m\udcff)."


def test_the_near_miss_is_suggested_and_the_far_one_is_not():
    assert did_you_mean("epoch", ["lr", "epochs"]) == "Did you mean 'epochs'?"
    assert did_you_mean("qqq", ["lr", "epochs"]) == ""
