"""From a recipe and options to a run: what the model sees, and what there is to train on."""

import dataclasses

import pytest
import torch
from PIL import Image
from torchvision import models

from ignite_vision import datasets
from ignite_vision.errors import UserError
from ignite_vision.prepare import Options, prepare
from ignite_vision.recipe_files import load
from tests.helpers.runs import train


def prepared(spec, folder=None, **overrides):
    options = Options(data=folder, workers=0)
    return prepare(load(spec), {name: str(value) for name, value in overrides.items()}, options, lambda line: None)


def sees(run):
    p = run.preprocessing
    return p.channels, p.resize, p.crop, p.mean


def test_without_weights_the_data_says_the_size_and_pixels_are_mapped_to_plus_minus_one():
    assert sees(prepared("digits")) == (1, 8, 8, (0.5,))


def test_a_torchvision_model_gets_three_channels_and_its_minimum():
    assert sees(prepared("digits", model="resnet18")) == (3, 32, 32, (0.5, 0.5, 0.5))
    assert sees(prepared("digits", model="alexnet"))[2] == 64


@pytest.mark.parametrize("model", ["resnet18", "squeezenet1_1", pytest.param("vgg11", marks=pytest.mark.slow)])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_any_model_and_optimizer_go_with_digits(model, optimizer):
    from ignite_vision.jobs import rehearse

    assert "trained two batches" in rehearse(prepared("digits", model=model, optimizer=optimizer, lr=0.01))[1]


def test_image_size_enlarges_what_the_model_sees():
    assert sees(prepared("digits", model="resnet18", image_size=64))[1:3] == (64, 64)


def test_images_may_be_seen_whole_and_need_not_be_square(image_folder):
    run = prepared(str(image_folder), weights="none", image_size="48,64", fit="pad")
    assert (run.preprocessing.size, run.preprocessing.resize, run.preprocessing.fit) == ((48, 64), 48, "pad")
    run = prepared("digits", model="resnet18", image_size="48,64")
    assert run.preprocessing.box == run.preprocessing.size == (48, 64)
    assert prepared("digits", model="resnet18", image_size="16,64").preprocessing.size == (32, 64)  # the least


def test_a_network_of_one_size_is_not_shown_what_is_no_square():
    with pytest.raises(UserError, match="digits_cnn is built for square images, and image_size is 8x16. Use one"):
        prepared("digits", image_size="8,16")


def test_photographs_of_many_sizes_are_cut_to_224(image_folder):
    assert sees(prepared(str(image_folder), weights="none"))[:3] == (3, 256, 224)


def test_weights_bring_their_own_preprocessing_scaled_to_image_size(image_folder, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(models.mobilenet_v2().state_dict(), path)
    run = prepared(str(image_folder), weights=path)
    assert sees(run) == (3, 256, 224, (0.485, 0.456, 0.406))
    assert sees(prepared(str(image_folder), weights=path, image_size=112))[:3] == (3, 128, 112)


def test_a_small_network_of_ours_takes_any_data(image_folder):
    run = prepared(str(image_folder), weights="none", model="fashion_mnist_cnn", trainable="all")
    assert (run.preprocessing.channels, run.preprocessing.crop) == (1, 28)


def test_caltechs_own_folder_is_read_as_caltech_and_not_as_any_folder(image_folder):
    for number, path in enumerate(sorted(image_folder.iterdir())):
        path.rename(path.with_name(f"{number:03}.{path.name}"))
    official = image_folder.rename(image_folder.with_name("256_ObjectCategories"))
    assert prepared("caltech256", official, weights="none").splits.classes == ("apple", "banana", "cherry")


def test_a_recipe_of_ours_trains_on_a_folder_of_images(image_folder):
    run = prepared("cifar10", image_folder)
    assert run.splits.classes == ("apple", "banana", "cherry")
    assert run.preprocessing.crop == 32


def test_three_seeds_share_one_split_and_split_seeds_do_not():
    ids = [[run.splits.test.sample_id(i) for i in range(9)] for run in (prepared("digits"), prepared("digits", seed=1))]
    assert ids[0] == ids[1]
    other = prepared("digits", split_seed=1)
    assert [other.splits.test.sample_id(i) for i in range(9)] != ids[0]


def test_the_folder_recipe_alone_wants_a_folder():
    with pytest.raises(UserError, match="trains on a folder of images. Run: ignite-vision run folder --data DIR"):
        prepared("folder")


def test_no_validation_images_is_an_error_with_a_way_out(image_folder):
    with pytest.raises(UserError, match="no images for val.*raise val_fraction"):
        prepared(str(image_folder), weights="none", val_fraction=0)


def test_a_data_function_that_returns_no_splits_is_named(make_run):
    with pytest.raises(UserError, match="returned int, not Splits"):
        make_run(data_function=lambda folder: 3)


def test_a_file_of_weights_is_kept_by_its_absolute_path(image_folder, tmp_path, monkeypatch):
    torch.save(models.squeezenet1_1().state_dict(), tmp_path / "w.pth")
    monkeypatch.chdir(tmp_path)
    run = prepared(str(image_folder), model="squeezenet1_1", weights="w.pth")
    assert run.recipe.weights == run.overrides["weights"] == str(tmp_path / "w.pth")


class TestDefaultDirectory:
    """The same command finds its run again, and another never takes its place."""

    def test_follows_the_content_of_the_weights_and_not_their_place(self, image_folder, tmp_path):
        places = []
        for place, seed in (("a", 1), ("b", 1), ("c", 2)):
            torch.manual_seed(seed)
            (tmp_path / place).mkdir()
            torch.save(models.squeezenet1_1().state_dict(), tmp_path / place / "w.pth")
            run = prepared(str(image_folder), model="squeezenet1_1", weights=tmp_path / place / "w.pth")
            places.append(run.directory)
        assert places[0] == places[1] != places[2]

    @pytest.mark.parametrize("name", ["same.bmp", "other.bmp"])
    def test_of_other_images_in_a_folder_of_the_same_name_is_another(self, tmp_path, name):
        runs = []
        for place, first in (("a", "same.bmp"), ("b", name)):
            for c, label in enumerate(("x", "y")):
                folder = tmp_path / place / "photos" / label
                folder.mkdir(parents=True)
                for i in range(8):
                    shade = 100 * c + 10 * i + (place == "b")
                    Image.new("RGB", (32, 32), (shade,) * 3).save(folder / (f"{i}.bmp" if i else first))
            lines = []
            options = Options(data=tmp_path / place / "photos", workers=0)
            settings = {"weights": "none", "model": "cifar10_cnn", "trainable": "all", "epochs": "1"}
            run = prepare(load("folder"), settings, options, lines.append)
            train(run)
            runs.append(run.directory)
        assert runs[0] != runs[1]
        assert any(f"{runs[0]} belongs to other images" in line for line in lines)

    def test_of_images_that_moved_is_the_same(self, image_folder, tmp_path):
        settings = {"weights": "none", "model": "cifar10_cnn", "trainable": "all", "epochs": "1"}

        def again():
            return prepare(load("folder"), settings, Options(data=image_folder, workers=0), lambda line: None)

        first = again()
        train(first)
        (tmp_path / "elsewhere").mkdir()
        image_folder = image_folder.rename(tmp_path / "elsewhere" / image_folder.name)
        assert again().directory == first.directory

    def test_beside_a_run_of_an_earlier_format_is_refused(self, tmp_path):
        old = tmp_path / "runs" / "digits-abcdef"
        old.mkdir(parents=True)
        (old / "run.json").write_text('{"format_version": 1, "spec": "digits", "overrides": {"lr": "0.1"}}')
        with pytest.raises(UserError, match="an earlier version of ignite-vision began this run .*Move it away"):
            prepared("digits", lr=0.1, epochs=3)
        assert prepared("digits", lr=0.2).directory != old


def test_any_classification_set_of_torchvision_can_be_named(tmp_path):
    recipe = load("digits").recipe
    loaded = dataclasses.replace(
        load("digits"), recipe=dataclasses.replace(recipe, data=datasets.torchvision_dataset("FakeData", size=40))
    )
    run = prepare(loaded, {"model": "resnet18"}, Options(workers=0), lambda line: None)
    assert len(run.splits.classes) == 10


@pytest.mark.parametrize(("model", "size"), [("digits_cnn", 16), ("maxvit_t", 256)])
def test_a_size_that_a_network_is_not_built_for_is_refused(model, size):
    with pytest.raises(
        UserError, match=f"{model} is built for images of .* pixels, and image_size is {size}. Leave it"
    ):
        prepared("digits", model=model, image_size=size)
