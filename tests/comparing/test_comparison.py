"""Runs are compared on the same test images, or refused."""

import json
import shutil

import pytest

from ignite_vision.comparing.comparison import compare
from tests.comparing.conftest import as_right, rewrite, wrong


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


def test_seeds_of_both_settings_settle_it(several):
    found = compare(several)
    assert list(found.settings) == ["lr", "seed"]
    assert [one.verdict for one in found.versus] == ["equal", "equal", "better", "better", "better"]
    two = compare([several[0], several[3]])
    assert [one.verdict for one in two.versus] == ["seeds"]
    assert two.contests == []


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
