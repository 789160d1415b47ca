"""run.json, and what is refused or said when a command takes a run up again."""

import dataclasses
import json
import sys

import pytest
import torch
from ignite.engine import Events

from ignite_vision.data.containers import ArrayImages
from ignite_vision.errors import UserError
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe_files import load
from ignite_vision.training.settings import changed_environment, refuse_changes, settings_of
from tests.conftest import small_net, squares
from tests.helpers.runs import begun, built, history, kill, said, train, train_until

RECIPE = '''"""Squares."""

import helpers_of_squares

from ignite_vision import Recipe
from tests.conftest import small_net, squares


def augment(images, size):
    return helpers_of_squares.change(images)


helpers_of_squares.begin()
recipe = Recipe(
    data=squares, model=small_net, augment=(augment,), epochs=2, batch_size=16,
    val_fraction=0.2, test_fraction=0.2, precision="fp32",
)
'''
HELPERS = """
def change(images):
    return images  # as they are


def begin():
    return 1
"""


@pytest.fixture
def squares_recipe(tmp_path, monkeypatch):
    """Return a function that prepares a recipe file with a helper module beside it. helpers: the module's source."""
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "squares_recipe.py").write_text(RECIPE)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def make(helpers=HELPERS, **changes):
        (folder / "helpers_of_squares.py").write_text(helpers)
        for name in ("squares_recipe", "helpers_of_squares"):
            sys.modules.pop(name, None)
        loaded = load(str(folder / "squares_recipe.py"))
        loaded = dataclasses.replace(loaded, recipe=dataclasses.replace(loaded.recipe, **changes))
        lines: list[str] = []
        options = Options(out=tmp_path / "run", device="cpu", workers=0)
        return prepare(loaded, {}, options, lines.append)

    yield make
    for name in ("squares_recipe", "helpers_of_squares"):
        sys.modules.pop(name, None)


def test_run_json_holds_what_a_later_command_compares(make_run):
    run = make_run()
    train(run)
    settings = run.directory.read_settings()
    now = json.loads(json.dumps(settings_of(run, built(run).plan)))
    assert {**settings, "cache": None} == {**now, "cache": None}  # which says how much memory is free
    assert settings["data"]["sizes"] == {"train": 72, "val": 24, "test": 24}
    assert settings["classes"] == ["dark", "middle", "bright"]
    assert settings["recipe"]["epochs"] == 2


class TestCode:
    CHANGED = HELPERS.replace("return 1", "return 2")

    def test_that_a_field_reaches_is_a_changed_field(self, squares_recipe):
        train(squares_recipe())
        with pytest.raises(UserError, match="this run began with another recipe: augment: "):
            train(squares_recipe(HELPERS.replace("return images", "return 255 - images")))

    def test_of_a_helper_beside_the_recipe_is_named_and_the_run_no_longer_exact(self, squares_recipe):
        train_until(squares_recipe(), Events.ITERATION_COMPLETED(once=6), kill)
        run = squares_recipe(self.CHANGED)
        outcome = train(run)
        (warning,) = (line for line in said(run) if line.startswith("warning: no longer bit-exact"))
        assert "helpers_of_squares.py" in warning
        assert outcome.metrics["exact"] is False

    def test_of_a_finished_run_is_refused(self, squares_recipe):
        train(squares_recipe())
        with pytest.raises(UserError, match=r"code changed since this run finished: helpers_of_squares.py"):
            train(squares_recipe(self.CHANGED))

    def test_comments_and_blank_lines_are_no_change(self, squares_recipe):
        train(squares_recipe())
        assert train(squares_recipe(HELPERS.replace("as they are", "unchanged") + "\n\n# The end.\n")).finished_before


class TestWeights:
    def weights(self, path, value):
        torch.manual_seed(0)
        network = small_net(3)
        with torch.no_grad():
            network[0].bias.fill_(value)
        torch.save(network.state_dict(), path)

    def test_whose_content_changed_are_refused(self, make_run, tmp_path):
        fields = {"weights": str(tmp_path / "weights.pth"), "epochs": 2}
        self.weights(tmp_path / "weights.pth", 0.0)
        train_until(make_run(**fields), Events.ITERATION_COMPLETED(once=6), kill)
        self.weights(tmp_path / "weights.pth", 1.0)
        with pytest.raises(UserError, match=r"the content of the weights changed since this run began") as failure:
            train(make_run(**fields))
        assert "Restore them, or choose another --out" in str(failure.value)

    def test_that_are_the_same_again_are_taken(self, make_run, tmp_path):
        fields = {"weights": str(tmp_path / "weights.pth"), "epochs": 2}
        self.weights(tmp_path / "weights.pth", 0.0)
        train_until(make_run(**fields), Events.ITERATION_COMPLETED(once=6), kill)
        (tmp_path / "weights.pth").unlink()
        self.weights(tmp_path / "weights.pth", 0.0)
        run = make_run(**fields)
        assert train(run).metrics["exact"]

    def test_that_were_moved_are_the_same(self, make_run, tmp_path):
        self.weights(tmp_path / "weights.pth", 0.0)
        train_until(make_run(weights=str(tmp_path / "weights.pth"), epochs=2), Events.ITERATION_COMPLETED(once=6), kill)
        (tmp_path / "weights.pth").rename(tmp_path / "moved.pth")
        assert train(make_run(weights=str(tmp_path / "moved.pth"), epochs=2)).metrics["exact"]


class TestData:
    def test_with_other_pixels_is_refused(self, make_run):
        def darker(folder):
            splits = squares(folder)
            images = ArrayImages(splits.train.pixels().clamp(max=200), splits.train.targets)
            return dataclasses.replace(splits, train=images)

        train(make_run())
        darker.__name__ = "squares"
        run = dataclasses.replace(make_run(), splits=make_run(data_function=darker).splits)
        with pytest.raises(UserError, match="the data changed since this run began: pixels or labels"):
            train(run)


class TestFields:
    def test_a_field_that_is_younger_than_the_run_counts_as_its_default(self, make_run):
        begun(make_run())
        settings = make_run().directory.read_settings()
        del settings["recipe"]["sync_bn"]
        refuse_changes(make_run(), settings)
        with pytest.raises(UserError, match="sync_bn: None -> True"):
            refuse_changes(make_run(sync_bn=True), settings)

    def test_old_and_new_are_named(self, make_run):
        train(make_run(epochs=1))
        with pytest.raises(UserError, match="patience: None -> 3, seed: 0 -> 1"):
            train(make_run(seed=1, patience=3))

    def test_more_epochs_are_no_change(self, make_run):
        train(make_run(epochs=1))
        run = make_run(epochs=2)
        train(run)
        assert len(history(run)) == 2

    def test_a_field_of_a_later_version_is_no_change(self, make_run):
        run = make_run()
        train(run)
        settings = run.directory.read_settings()
        del settings["recipe"]["sync_bn"]
        run.directory.write_settings(settings)
        assert train(make_run()).finished_before


def test_another_environment_is_named_and_the_run_no_longer_exact(make_run):
    run = make_run(epochs=1)
    train(run)
    settings = run.directory.read_settings()
    settings["environment"]["versions"]["torch"] = "1.0"
    run.directory.write_settings(settings)
    (change,) = changed_environment(settings, run.device, run.precision)
    assert change == f"torch: 1.0 -> {torch.__version__.partition('+')[0]}"
    assert changed_environment(settings, run.device, run.precision, but=("torch",)) == []
    again = make_run(epochs=2)
    assert train(again).metrics["exact"] is False
    assert any(line.startswith("warning: no longer bit-exact from here; changed since") for line in said(again))
