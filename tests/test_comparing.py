"""Runs are compared on the same test images, or refused."""

import json
import shutil

import pytest

from ignite_vision.comparing import as_text, compare
from ignite_vision.errors import DAMAGED, UserError


@pytest.fixture
def other(digits_run, tmp_path):
    """Return a copy of the run, as if trained with another lr, that has its first two images wrong."""
    copy = shutil.copytree(digits_run, tmp_path / "other")
    edit(copy, lambda settings: settings["recipe"].update(lr=0.5))
    rewrite(copy, lambda rows: [wrong(row) if k < 2 else row for k, row in enumerate(rows)])
    return copy


def edit(run, change):
    settings = json.loads((run / "run.json").read_text())
    change(settings)
    (run / "run.json").write_text(json.dumps(settings))


def rewrite(run, change):
    """Change the rows of predictions.csv: (path, class, predicted, ...)."""
    header, *rows = [line.split(",") for line in (run / "predictions.csv").read_text().splitlines()]
    lines = [",".join(row) for row in [header, *change(rows)]]
    (run / "predictions.csv").write_text("\n".join(lines) + "\n")


def wrong(row):
    return [*row[:2], str((int(row[1]) + 1) % 10), *row[3:]]


def as_right(rows):
    return [[*row[:2], row[1], *row[3:]] for row in rows]


def test_settings_and_images_that_differ_are_named(digits_run, other):
    digits_copy = shutil.copytree(digits_run, other.with_name("first"))
    rewrite(digits_copy, as_right)
    rewrite(other, lambda rows: [wrong(row) if k < 2 else row for k, row in enumerate(as_right(rows))])
    found = compare([digits_copy, other])
    assert found.settings == {"lr": [0.002, 0.5]}
    (versus,) = found.versus
    assert (versus.found.n, versus.found.lost, versus.found.gained) == (450, 2, 0)
    assert len(versus.lost) == 2
    assert versus.verdict == "unknown"
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["comparisons"][0]["words"] == versus.words
    assert plain["runs"][0]["accuracy"] == 1.0


def test_seeds_of_both_settings_settle_it(digits_run, tmp_path):
    runs = []
    for lr in (0.1, 0.2):
        for seed in range(3):
            copy = shutil.copytree(digits_run, tmp_path / f"{lr}-{seed}")
            edit(copy, lambda settings, lr=lr, seed=seed: settings["recipe"].update(lr=lr, seed=seed))
            few = 90 if lr == 0.1 else seed
            rewrite(copy, lambda rows, few=few: [wrong(row) for row in rows[:few]] + as_right(rows[few:]))
            runs.append(copy)
    found = compare(runs)
    assert list(found.settings) == ["lr", "seed"]
    assert [one.verdict for one in found.versus] == ["equal", "equal", "better", "better", "better"]
    two = compare([runs[0], runs[3]]).versus
    assert [one.verdict for one in two] == ["seeds"]


def test_more_than_two_runs_are_corrected_for_their_number(digits_run, other):
    third = shutil.copytree(other, other.with_name("third"))
    rewrite(third, lambda rows: [wrong(row) if k < 9 else row for k, row in enumerate(rows)])
    found = compare([digits_run, other, third])
    for one in found.versus:
        assert one.chance >= one.found.chance
    assert found.versus[1].chance == pytest.approx(2 * found.versus[1].found.chance)


def test_results_on_other_images_stand_for_their_run(digits_run, other):
    for run in (first := shutil.copytree(digits_run, other.with_name("first")), other):
        place = run / "evaluations" / "more"
        place.mkdir(parents=True)
        for name in ("metrics.json", "predictions.csv"):
            shutil.copy(run / name, place / name)
    found = compare([first / "evaluations" / "more", other / "evaluations" / "more"])
    assert found.settings == {"lr": [0.002, 0.5]}
    assert found.versus == [
        type(one)(**{**vars(one), "one": found.versus[0].one, "other": found.versus[0].other})
        for one in compare([first, other]).versus
    ]


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
