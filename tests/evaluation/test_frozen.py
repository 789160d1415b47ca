"""Labels are judged by what a frozen network sees, before anything is trained."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from ignite_vision import Recipe, datasets
from ignite_vision.errors import UserError
from ignite_vision.evaluation import frozen as module
from ignite_vision.evaluation.frozen import frozen, judged_before_training
from ignite_vision.loading.features import Features
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe_files import LoadedRecipe


def colours(num_classes):
    """Return a network whose features are the mean of each colour."""
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))


@pytest.fixture
def loaded(tmp_path):
    """Return a recipe of a folder, behind that network, with weights that change no colour."""
    state = {"0.weight": torch.eye(3)[:, :, None, None], "0.bias": torch.zeros(3)}
    torch.save(state, tmp_path / "colours.pth")
    recipe = Recipe(
        data=datasets.image_folder,
        model=colours,
        weights=str(tmp_path / "colours.pth"),
        trainable="head",
        image_size=32,
        epochs=1,
        precision="fp32",
    )
    return LoadedRecipe(recipe, "colours", "colours", Path(__file__))


@pytest.fixture
def mislabelled(image_folder):
    """Return a folder of three colours, with a picture of one among those of another."""
    shutil.copy(image_folder / "banana" / "05.jpg", image_folder / "apple" / "wrong.jpg")
    (image_folder / "banana" / "05.jpg").unlink()
    return image_folder


def judged(loaded, folder, tmp_path):
    options = Options(data=folder, out=tmp_path / "none", device="cpu", workers=0)
    return judged_before_training(loaded, {}, options, lambda line: None)


def test_a_label_that_the_features_contradict_is_found(loaded, mislabelled, tmp_path):
    found, model = judged(loaded, mislabelled, tmp_path)
    assert [(s.path, s.label, s.looks_like) for s in found] == [("apple/wrong.jpg", "apple", "banana")]
    assert model == "the recipe's network"
    assert not (tmp_path / "none").exists()


def test_run_finds_the_features_that_were_computed(loaded, mislabelled, tmp_path):
    judged(loaded, mislabelled, tmp_path)
    options = Options(data=mislabelled, out=tmp_path / "run", device="cpu", workers=0)
    features = Features(prepare(loaded, {}, options, lambda line: None))
    assert all(features.is_computed(split) for split in ("train", "val", "test"))


def test_a_recipe_that_trains_everything_is_judged_by_the_network_for_folders():
    recipe = frozen(Recipe(data=datasets.image_folder, model="resnet18", trainable="all", image_size=64, epochs=1))
    assert (recipe.model, recipe.weights, recipe.trainable) == ("mobilenet_v2", "DEFAULT", "head")
    assert recipe.image_size is None


def test_what_would_take_minutes_is_refused(loaded, mislabelled, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_WORK", 36 * 3 * 3 - 1)
    with pytest.raises(UserError, match="36 images of 3 classes would take too long"):
        judged(loaded, mislabelled, tmp_path)
