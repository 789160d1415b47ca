"""What can be compared, and what is refused."""

import shlex
import shutil

import pytest

from ignite_vision.comparing.comparison import compare
from ignite_vision.comparing.runs import as_text, command
from ignite_vision.errors import DAMAGED, UserError
from tests.comparing.conftest import edit, rewrite


def test_the_command_for_more_seeds_has_the_settings_but_not_the_seed(digits_run, tmp_path):
    copy = shutil.copytree(digits_run, tmp_path / "copy")
    edit(
        copy, lambda s: (s["overrides"].update(seed="4", lr="0.1"), s["data"].update(folder=str(tmp_path / "my data")))
    )
    (tmp_path / "my data").mkdir()
    words = shlex.split(command(compare([digits_run, copy]).runs[1], 6))
    expected = ["--data", f"{tmp_path}/my data", "--set", "epochs=2", "--set", "lr=0.1", "--seeds", "6"]
    assert words == ["ignite-vision", "run", "digits", *expected]


class TestRefused:
    def test_one_run(self, digits_run):
        with pytest.raises(UserError, match=r"one run cannot be compared\. Name two or more"):
            compare([digits_run])

    def test_a_run_named_twice(self, digits_run):
        with pytest.raises(UserError, match="named twice"):
            compare([digits_run, digits_run / "."])

    def test_no_run(self, digits_run, tmp_path):
        with pytest.raises(UserError, match="not a run directory"):
            compare([digits_run, tmp_path])

    def test_an_unfinished_run(self, digits_run, other):
        (other / "metrics.json").unlink()
        with pytest.raises(UserError, match="no results yet .*ignite-vision resume"):
            compare([digits_run, other])

    def test_other_test_images(self, digits_run, other):
        rewrite(other, lambda rows: [["new", *rows[0][1:]], *rows[1:]])
        with pytest.raises(UserError, match=r"2 of 451 test images are not in both, .*: new, train.*--data DIR"):
            compare([digits_run, other])

    def test_other_labels(self, digits_run, other):
        rewrite(other, lambda rows: [[rows[0][0], "x", *rows[0][2:]], *rows[1:]])
        with pytest.raises(UserError, match="test images with another class than in .*, 1: "):
            compare([digits_run, other])

    def test_other_classes(self, digits_run, other):
        edit(other, lambda settings: settings["classes"].append("ten"))
        with pytest.raises(UserError, match=r"other classes than .*: ten"):
            compare([digits_run, other])

    @pytest.mark.parametrize(
        "text", ["", "a,b\n1,2\n", "path,class,predicted\n1\n", 'path,class,predicted\n"1,2', "\0"]
    )
    def test_damaged_predictions(self, digits_run, other, text):
        (other / "predictions.csv").write_text(text)
        with pytest.raises(UserError, match=r"predictions\.csv.*ignite-vision evaluate") as caught:
            compare([digits_run, other])
        assert caught.value.code == DAMAGED

    def test_missing_predictions(self, digits_run, other):
        (other / "predictions.csv").unlink()
        with pytest.raises(UserError, match=r"predictions\.csv is missing"):
            compare([digits_run, other])

    def test_an_image_that_is_there_twice(self, digits_run, other):
        rewrite(other, lambda rows: [*rows, rows[0]])
        with pytest.raises(UserError, match="is in it twice"):
            compare([digits_run, other])


def test_long_settings_are_cut():
    assert as_text("x" * 60) == "x" * 37 + "..."
    assert as_text({"a": [1, None]}) == '{"a": [1, null]}'
