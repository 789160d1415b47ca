"""A run's images: where they are, and which split has which."""

import pytest

from ignite_vision import datasets
from ignite_vision.errors import UserError
from ignite_vision.recipe_files import load
from ignite_vision.run_data import data_folder, data_set_name, existing, load_data, own_splits
from tests.helpers.runs import train


def test_the_data_sets_own_folder_is_the_default(tmp_path):
    loaded = load("cifar10")
    assert data_folder(loaded, loaded.recipe, None, None) == tmp_path / "data" / "cifar10"
    assert data_set_name(loaded.recipe) == "cifar10"


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no such data folder .*Check --data"):
        existing(tmp_path / "gone")


def test_class_folders_serve_any_built_in_recipe(image_folder):
    splits, name = load_data(load("cifar10").recipe, image_folder)
    assert (splits.classes, name) == (("apple", "banana", "cherry"), "photos")


@pytest.fixture
def trained(make_run, image_folder):
    prepared = make_run(data=image_folder, data_function=datasets.image_folder, model="digits_cnn", epochs=1)
    train(prepared)
    return prepared


def test_images_are_a_runs_own_wherever_they_are(trained, image_folder):
    moved = image_folder.rename(image_folder.with_name("moved"))
    given = datasets.image_folder(moved)
    found = own_splits(given, trained.directory, trained.directory.read_settings())
    assert [found.test.sample_id(i) for i in range(len(found.test))] == [
        trained.splits.test.sample_id(i) for i in range(len(trained.splits.test))
    ]


def test_images_of_the_same_names_and_sizes_but_other_content_are_not(trained, image_folder):
    for path in image_folder.rglob("*.jpg"):
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
    given = datasets.image_folder(image_folder)
    assert own_splits(given, trained.directory, trained.directory.read_settings()) is None
