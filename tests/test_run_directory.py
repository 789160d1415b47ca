"""A run's directory: who holds it, and what state it is in."""

import json
import math
import os
import subprocess
import sys

import pytest

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.run_directory import RunDirectory, SeedsDirectory


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


SETTINGS = {
    **{"format_version": 2, "name": "digits", "spec": "digits", "overrides": {"epochs": "1"}, "recipe": {"epochs": 1}},
    "data": {"folder": "/data/digits", "fingerprint": "f", "sample": {}, "content": None},
    **{"sources": {}, "weights": None, "classes": ["a", "b"], "environment": {"versions": {}, "precision": "fp32"}},
}
RESULTS = {
    **{"split": "test", "n": 1, "loss": 0.5, "accuracy": 1.0, "balanced_accuracy": 1.0, "macro_f1": 1.0},
    "per_class": {"a": {"n": 1, "accuracy": 1.0, "precision": 1.0, "f1": 1.0}, "b": {"n": 0}},
}


def paths_into(values, above=()):
    """Every field, those of nested objects too."""
    for name, value in values.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from paths_into(value, (*above, name))


def without(values, path):
    copy = json.loads(json.dumps(values))
    *above, last = path
    inside = copy
    for name in above:
        inside = inside[name]
    del inside[last]
    return copy


@pytest.mark.parametrize("path", [path for path in paths_into(SETTINGS) if path[-1] != "epochs"], ids=".".join)
def test_settings_that_lack_a_field_name_it(tmp_path, path):
    directory = RunDirectory(tmp_path)
    directory.write_settings(SETTINGS)
    assert directory.read_settings() == SETTINGS
    directory.write_settings(without(SETTINGS, path))
    with pytest.raises(UserError, match=f"cannot read run.json: it has no '{path[-1]}'") as failure:
        directory.read_settings()
    assert failure.value.code == DAMAGED


@pytest.mark.parametrize("change", [{"overrides": {"lr": 1}}, {"classes": None}, {"recipe": [1]}, {"data": 3}])
def test_settings_that_hold_something_else_are_damaged(tmp_path, change):
    RunDirectory(tmp_path).write_settings(SETTINGS | change)
    with pytest.raises(UserError, match="cannot read run.json: ") as failure:
        RunDirectory(tmp_path).read_settings()
    assert failure.value.code == DAMAGED


@pytest.mark.parametrize("path", [path for path in paths_into(RESULTS) if path[-1] not in "ab"], ids=".".join)
def test_results_that_lack_a_field_are_damaged(tmp_path, path):
    directory = RunDirectory(tmp_path)
    directory.metrics.write_text(json.dumps(RESULTS))
    assert directory.read_metrics() == RESULTS
    directory.metrics.write_text(json.dumps(without(RESULTS, path)))
    with pytest.raises(UserError, match=f"cannot read metrics.json: it has no '{path[-1]}'.*Delete it") as failure:
        directory.read_metrics()
    assert failure.value.code == DAMAGED


MORE = {
    "intervals": {"level": 0.95, "accuracy": [0.2, 1.0], "macro_f1": None, "loss": [0.1, 0.2]},
    "baseline": {"class": "7", "accuracy": 0.5, "chance": 0.5},
    "calibration": {
        **{"temperature": 0.8, "n": 60, "before": {"ece": None}, "after": {"ece": 0.1}},
        "ece_if_perfect": {"mean": 0.1, "p95": 0.2},
    },
    "coverage": [{"share": 1.0, "n": 1, "accuracy": None, "interval": None, "threshold": 0.0}],
    "twins": {"in_train": 0, "accuracy_without": None},
}


def test_results_with_all_that_is_known_are_read(tmp_path):
    RunDirectory(tmp_path).metrics.write_text(json.dumps(RESULTS | MORE))
    assert RunDirectory(tmp_path).read_metrics() == RESULTS | MORE


@pytest.mark.parametrize(
    "change",
    [
        {"n": 0},
        {"accuracy": 7},
        {"macro_f1": "good"},
        {"loss": 1e200},
        {"loss": 10**400},
        {"intervals": [0.1, 0.9]},
        {"intervals": {"accuracy": [0.9]}},
        {"baseline": {"class": 7, "accuracy": 0.5, "chance": 0.5}},
        {"baseline": {"class": "7", "accuracy": None, "chance": 0.5}},
        {"calibration": {"temperature": 1.0}},
        {"calibration": MORE["calibration"] | {"after": {}}},
        {"coverage": {"share": 1}},
        {"coverage": [{"n": 1, "accuracy": "all"}]},
        {"twins": 3},
        {"per_class": {"a": {"n": 1, "accuracy": 1.0, "precision": 1.0, "f1": 1.0, "interval": "wide"}}},
    ],
    ids=str,
)
def test_results_edited_by_hand_are_one_line(tmp_path, change):
    RunDirectory(tmp_path).metrics.write_text(json.dumps(RESULTS | MORE | change))
    with pytest.raises(UserError, match=r"cannot read metrics.json: (its .* is |it has no |int too large)") as failure:
        RunDirectory(tmp_path).read_metrics()
    assert failure.value.code == DAMAGED
    assert "\n" not in str(failure.value)


def test_a_loss_of_null_is_not_a_number(tmp_path):
    RunDirectory(tmp_path).metrics.write_text(json.dumps(RESULTS | {"loss": None}))
    assert math.isnan(RunDirectory(tmp_path).read_metrics()["loss"])


def test_no_results_are_no_error(tmp_path):
    assert RunDirectory(tmp_path).read_metrics() is None


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


def test_runs_of_several_seeds_are_found_by_their_seed(tmp_path):
    for name in ("seed-10", "seed-2", "seed-x", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    (tmp_path / "seed-3").mkdir()  # not begun
    assert [run.path.name for run in SeedsDirectory(tmp_path).begun()] == ["seed-2", "seed-10"]


@pytest.mark.parametrize("text", ["", "[]", '{"runs": 3}', '{"runs": [{"seed": "../.."}]}', "[" * 100_000])
def test_seeds_json_that_is_damaged_is_named(tmp_path, text):
    directory = SeedsDirectory(tmp_path)
    directory.results.write_text(text)
    with pytest.raises(UserError, match=r"cannot read seeds\.json: .*The command that made it") as caught:
        directory.read()
    assert caught.value.code == DAMAGED


def test_a_folder_of_seeds_is_no_run_but_says_where_they_are(tmp_path):
    (tmp_path / "seed-4").mkdir()
    (tmp_path / "seed-4" / "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"not a run directory .*name one, such as .*seed-4\."):
        RunDirectory(tmp_path).read_settings()
