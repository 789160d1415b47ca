"""`report`: one page of a finished run."""

import shutil

import pytest

from tests.helpers.command_line import assert_one_error_line


@pytest.fixture
def copy(digits_run, tmp_path):
    return shutil.copytree(digits_run, tmp_path / "copy")


def test_report_says_where_the_page_is(ignite_vision, copy):
    code, out, err = ignite_vision("report", copy, "--device", "cpu")
    assert code == 0, err
    assert out.startswith(f"report: {copy / 'report.html'} (")
    assert (copy / "report.html").read_text().startswith("<!doctype html>")


def test_a_folder_that_is_no_run_is_refused_in_one_line(ignite_vision, tmp_path):
    assert_one_error_line(ignite_vision("report", tmp_path), "not a run directory")
