"""Several seeds of one recipe: each as if it had been alone, on one split, and what they say together."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Events

from ignite_vision import Recipe, training
from ignite_vision.errors import Stopped, UserError
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe_files import LoadedRecipe
from ignite_vision.run_directory import RunDirectory
from ignite_vision.seeds import Work, train_seeds
from tests.conftest import small_net, squares
from tests.helpers.runs import RESULTS, stop, train


class Growing(torch.nn.Module):
    """A loss that remembers how often it was asked."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, logits, targets):
        self.calls += 1
        return torch.nn.functional.cross_entropy(logits, targets) * (1 + self.calls / 100)


RECIPE = Recipe(
    data=squares,
    test_fraction=0.2,
    val_fraction=0.2,
    model=small_net,
    epochs=1,
    batch_size=16,
    precision="fp32",
)


@pytest.fixture
def work(tmp_path):
    """Return a function: what a command asks for, with what it says in `lines`."""

    def make(out="several", overrides=None, **fields):
        lines = []
        loaded = LoadedRecipe(dataclasses.replace(RECIPE, **fields), "squares", "squares", Path(__file__))
        options = Options(out=out and tmp_path / out, device="cpu", workers=0)
        told = {"announce": lambda seed, *_: lines.append(seed), "done": lambda seed, outcome: None}
        return Work(loaded, overrides or {}, options, lines.append, **told)

    return make


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.json*")}


def test_each_seed_has_the_bytes_of_a_run_alone_and_all_have_one_split(work, tmp_path):
    found = train_seeds((3, 4), work(loss=Growing()))
    asked = work("alone", loss=Growing()).loaded
    alone = prepare(asked, {"seed": "4"}, Options(out=tmp_path / "alone", device="cpu", workers=0), print)
    train(alone)
    for name in (*RESULTS, "splits.csv"):
        assert (found.folder.run(4) / name).read_bytes() == (alone.directory / name).read_bytes(), name
    splits = [(run.directory / "splits.csv").read_bytes() for run in found.runs]
    assert splits[0] == splits[1]


def test_seeds_json_has_mean_deviation_and_each(work):
    found = train_seeds((0, 1, 2), work())
    said = json.loads(found.folder.results.read_text())
    numbers = [json.loads((found.folder.run(seed) / "metrics.json").read_text()) for seed in range(3)]
    assert [run["seed"] for run in said["runs"]] == [0, 1, 2]
    for name in ("accuracy", "macro_f1", "loss"):
        values = [each[name] for each in numbers]
        assert [run[name] for run in said["runs"]] == values
        assert said["mean"][name] == pytest.approx(np.mean(values))
        assert said["deviation"][name] == pytest.approx(np.std(values, ddof=1))
    assert [run.path for run in found.folder.read()] == [found.folder.path / f"seed-{seed}" for seed in range(3)]


def test_one_that_is_stopped_goes_on_by_the_same_command_with_the_same_bytes(work, monkeypatch):
    whole = train_seeds((0, 1), work("whole"))
    restore = training.restore

    def stopping(run, *others):
        if run.recipe.seed == 1:
            run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: stop())
        restore(run, *others)

    with monkeypatch.context() as patched:
        patched.setattr(training, "restore", stopping)
        with pytest.raises(Stopped, match=r"resume .*seed-1, or all seeds by the same command again") as stopped:
            train_seeds((0, 1), work())
    assert stopped.value.code == 75
    found = train_seeds((0, 1), work())
    assert found.to_dict() == whole.to_dict()
    for name in RESULTS:
        assert (found.folder.run(1) / name).read_bytes() == (whole.folder.run(1) / name).read_bytes(), name


def test_finished_seeds_stay_as_they_are_and_more_can_be_added(work):
    found = train_seeds((0, 1), work())
    before = files(found.folder.path)
    assert train_seeds((0, 1), work()).to_dict() == found.to_dict()
    assert files(found.folder.path) == before
    more = train_seeds((0, 1, 2), work())
    assert [run.seed for run in more.runs] == [0, 1, 2]
    after = files(found.folder.path)
    assert {name for name in before if before[name] != after[name]} == {Path("seeds.json")}


def test_without_out_the_folder_has_the_name_of_the_run_alone(work, tmp_path):
    found = train_seeds((1, 2), work(out=None))
    asked = work(out=None)
    alone = prepare(asked.loaded, {}, asked.options, print).directory
    assert found.folder.path == tmp_path / "runs" / f"{alone.path.name}-seeds"


class TestRefused:
    def test_a_folder_with_runs_of_another_recipe(self, work):
        train_seeds((0, 1), work())
        with pytest.raises(UserError, match=r"would differ in more than their seed: lr .*seed-0"):
            train_seeds((7, 8), work(overrides={"lr": "0.5"}))

    def test_a_folder_with_runs_on_another_split(self, work):
        train_seeds((0, 1), work())
        with pytest.raises(UserError, match="more than their seed: split_seed, images or their split"):
            train_seeds((7, 8), work(overrides={"split_seed": "9"}))

    def test_a_run_a_file_and_a_folder_of_something_else(self, work, tmp_path):
        train_seeds((0, 1), work())
        with pytest.raises(UserError, match="--out is a run, and several seeds need a folder"):
            train_seeds((0, 1), work("several/seed-0"))
        (tmp_path / "file").write_text("precious")
        with pytest.raises(UserError, match="--out is a file"):
            train_seeds((0, 1), work("file"))
        (tmp_path / "thesis").mkdir()
        shutil.copy(tmp_path / "file", tmp_path / "thesis" / "chapter")
        with pytest.raises(UserError, match="not one of runs of several seeds"):
            train_seeds((0, 1), work("thesis"))
        assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter"]


def test_what_each_seed_says_of_itself_is_said_even_if_another_said_the_same(work):
    several, lines = work(), []
    several = dataclasses.replace(several, say=lines.append)
    for seed in (0, 1):
        several.prepared(seed, RunDirectory(several.options.out / str(seed))).say("epoch 1/1")
    several.tell("of the data")
    several.tell("of the data")
    assert lines == ["epoch 1/1", "epoch 1/1", "of the data"]
