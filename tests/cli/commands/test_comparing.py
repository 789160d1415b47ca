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
    assert "next: train under several seeds, and compare the folders:\n  ignite-vision run digits --" in out
    assert out.splitlines()[-1].endswith(" --set epochs=2 --seeds 3")


def test_seeds_of_two_settings_are_one_comparison(ignite_vision, tmp_path):
    for lr in ("0.002", "0.00001"):
        asked = ("--epochs", 1, "--seeds", 2, "--set", f"lr={lr}", "--out", tmp_path / lr)
        assert ignite_vision("run", "digits", *asked)[0] == 0
    code, out, err = ignite_vision("compare", tmp_path / "0.002", tmp_path / "0.00001")
    assert code == 0, err
    assert f"\n{tmp_path / '0.002'} looks better, but fewer than 3 seeds of each: mean 0." in out
    assert "pair by pair, on the images (2 of 2 by more than noise):" in out
    assert f"\nof {tmp_path / '0.002' / 'seed-0'} and {tmp_path / '0.00001' / 'seed-0'}:\nclasses better" in out
    assert "ignite-vision run digits --set lr=0.002 --set epochs=1 --seeds 3" in out.splitlines()[-2]


def test_json_has_all_of_it(ignite_vision, digits_run, other):
    code, out, err = ignite_vision("compare", digits_run, other, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["format"], found["n"]) == (1, 450)
    (one,) = found["comparisons"]
    assert (one["verdict"], one["lost"]) == ("seeds", len(one["images_lost"]))
    assert {row["class"] for row in one["classes"]} == {str(digit) for digit in range(10)}


def test_a_page_is_written_beside_what_is_printed(ignite_vision, digits_run, other, tmp_path):
    page = tmp_path / "compare.html"
    code, out, err = ignite_vision("compare", digits_run, other, "--json", "--html", page)
    assert code == 0, err
    assert json.loads(out)["n"] == 450
    assert f"page: {page} (" in err
    assert "looks better, but one seed each" in page.read_text()
    result = ignite_vision("compare", digits_run, other, "--data", tmp_path)
    assert_one_error_line(result, "--data is for the pictures of a page", "--html FILE")


def test_what_cannot_be_compared_is_one_line(ignite_vision, digits_run, tmp_path):
    assert_one_error_line(ignite_vision("compare", digits_run), "one run cannot be compared")
    assert_one_error_line(ignite_vision("compare", digits_run, tmp_path), "not a run directory", str(tmp_path))
    assert_one_error_line(ignite_vision("compare"), "RUN RUN")
