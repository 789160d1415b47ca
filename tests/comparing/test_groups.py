"""Several seeds of a setting are compared as one."""

import json

import pytest

from ignite_vision.comparing.comparison import compare
from ignite_vision.errors import UserError


def test_runs_that_are_alike_but_for_their_seed_are_one_group_and_paired_by_it(several):
    found = compare([several[1], *several[3:], several[0], several[2]])
    assert [group.name for group in found.groups] == [str(several[1]), str(several[3])]
    (contest,) = found.contests
    assert contest.verdict == "better"
    assert [(one.name, other.name) for one, other in contest.pairs] == [
        (str(several[seed]), str(several[seed + 3])) for seed in (1, 0, 2)
    ]
    plain = json.loads(json.dumps(found.to_dict()))
    assert [group["seeds"] for group in plain["groups"]] == [[1, 0, 2], [0, 1, 2]]
    (said,) = plain["group_comparisons"]
    assert said["words"] == contest.words
    assert [one["lost"] for one in said["pairs"]] == [0, 0, 0]
    assert said["difference"] == pytest.approx(89 / 450)


def test_a_folder_of_seeds_stands_for_its_runs(several):
    folders = [several[0].parent, several[3].parent]
    with pytest.raises(UserError, match="not all seeds of this folder are finished"):
        compare(folders)
    for folder in folders:
        (folder / "seeds.json").write_text(json.dumps({"runs": [{"seed": seed} for seed in range(3)]}))
    found = compare(folders)
    assert [run.name for run in found.runs] == [str(run) for run in several]
    assert [group.name for group in found.groups] == [str(folder) for folder in folders]
    assert found.contests[0].words.startswith(f"{folders[1]} is better: mean 0.998 against 0.800 of 3 and 3 seeds")
