"""`compare`."""

import json
import shutil

import pytest

from tests.helpers.command_line import assert_one_error_line


@pytest.fixture
def other(digits_run, tmp_path):
    """Return a copy of the run that says `3` of every image."""
    copy = shutil.copytree(digits_run, tmp_path / "other")
    header, *rows = [line.split(",") for line in (copy / "predictions.csv").read_text().splitlines()]
    rows = [[row[0], row[1], "3", *row[3:]] for row in rows]
    (copy / "predictions.csv").write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")
    return copy


def test_it_says_which_is_better_and_where(ignite_vision, digits_run, other):
    code, out, err = ignite_vision("compare", other, digits_run)
    assert code == 0, err
    assert f"{digits_run} looks better, but one seed each: " in out
    assert "no setting differs" in out
    assert "classes better or worse in" in out
    assert f"{digits_run} alone has right:\n  train:" in out
    assert out.splitlines()[-1].startswith("next: train both settings with --seed 0, 1 and 2")


def test_json_has_all_of_it(ignite_vision, digits_run, other):
    code, out, err = ignite_vision("compare", digits_run, other, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["format"], found["n"]) == (1, 450)
    (one,) = found["comparisons"]
    assert (one["verdict"], one["lost"]) == ("seeds", len(one["images_lost"]))
    assert {row["class"] for row in one["classes"]} == {str(digit) for digit in range(10)}


def test_what_cannot_be_compared_is_one_line(ignite_vision, digits_run, tmp_path):
    assert_one_error_line(ignite_vision("compare", digits_run), "one run cannot be compared")
    assert_one_error_line(ignite_vision("compare", digits_run, tmp_path), "not a run directory", str(tmp_path))
    assert_one_error_line(ignite_vision("compare"), "RUN RUN")
