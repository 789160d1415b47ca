"""Data sets of torchvision in miniature, each kind of constructor once."""

import json

import pytest
import torchvision
from PIL import Image

from ignite_vision.data import torchvision_sets
from ignite_vision.data.containers import DatasetImages, ImageFiles
from ignite_vision.datasets import torchvision_dataset
from ignite_vision.errors import UserError


def write(path, colour=(10, 20, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (6, 5), colour).save(path)


def ids(images):
    return [images.sample_id(i) for i in range(len(images))]


def write_food101(root):
    for name, numbers in {"train": (1, 2, 3), "test": (4,)}.items():
        listed = {food: [f"{food}/{i}" for i in numbers] for food in ("ramen", "apple_pie")}
        for path in (path for paths in listed.values() for path in paths):
            write(root / "food-101" / "images" / f"{path}.jpg")
        (root / "food-101" / "meta").mkdir(exist_ok=True)
        (root / "food-101" / "meta" / f"{name}.json").write_text(json.dumps(listed))
    return root


def test_food101_is_named_in_one_word_and_stays_files(tmp_path):
    splits = torchvision_dataset("Food101")(write_food101(tmp_path))
    assert splits.classes == ("apple_pie", "ramen")
    assert isinstance(splits.train, ImageFiles) and splits.val is None
    assert ids(splits.test) == ["food-101/images/ramen/4.jpg", "food-101/images/apple_pie/4.jpg"]
    assert splits.test.targets.tolist() == [1, 0] and splits.train[0][0].shape == (3, 5, 6)


def test_a_transform_in_between_leaves_the_reading_to_torchvision(tmp_path):
    shrink = torchvision.transforms.Resize(2)
    splits = torchvision_dataset("Food101", transform=shrink)(write_food101(tmp_path))
    assert isinstance(splits.train, DatasetImages) and splits.train[0][0].shape == (3, 2, 2)
    assert splits.train.targets.tolist() == [1, 1, 1, 0, 0, 0]


def test_dtd_gives_its_own_validation_split(tmp_path):
    for i, name in enumerate(("train", "val", "test")):
        lines = [f"{texture}/{texture}_{i}.jpg" for texture in ("banded", "woven")]
        for line in lines:
            write(tmp_path / "dtd" / "dtd" / "images" / line)
        (tmp_path / "dtd" / "dtd" / "labels").mkdir(exist_ok=True)
        (tmp_path / "dtd" / "dtd" / "labels" / f"{name}3.txt").write_text("\n".join(lines))
    splits = torchvision_dataset("DTD", partition=3)(tmp_path)
    assert ids(splits.val) == ["dtd/dtd/images/banded/banded_1.jpg", "dtd/dtd/images/woven/woven_1.jpg"]
    assert splits.classes == ("banded", "woven")


def test_oxford_pets_call_their_training_images_trainval(tmp_path):
    base = tmp_path / "oxford-iiit-pet"
    for name in ("trainval", "test"):
        pets = [(f"Abyssinian_{name}", 1), (f"american_bulldog_{name}", 2)]
        for pet, _ in pets:
            write(base / "images" / f"{pet}.jpg")
        (base / "annotations").mkdir(exist_ok=True)
        (base / "annotations" / f"{name}.txt").write_text("".join(f"{pet} {label} 1 1\n" for pet, label in pets))
    splits = torchvision_dataset("OxfordIIITPet")(tmp_path)
    assert splits.classes == ("Abyssinian", "American Bulldog")
    assert len(splits.train) == 2 and splits.val is None and ids(splits.test)[0].endswith("Abyssinian_test.jpg")


def test_clevrs_test_images_without_labels_are_left_out(tmp_path):
    base = tmp_path / "clevr" / "CLEVR_v1.0"
    for name in ("train", "val", "test"):
        write(base / "images" / name / "a.png")
        write(base / "images" / name / "b.png")
        scenes = [{"image_filename": f"{x}.png", "objects": [0] * n} for x, n in (("a", 1), ("b", 3))]
        (base / "scenes").mkdir(exist_ok=True)
        (base / "scenes" / f"CLEVR_{name}_scenes.json").write_text(json.dumps({"scenes": scenes}))
    splits = torchvision_dataset("CLEVRClassification")(tmp_path)
    assert splits.train.targets.tolist() == [1, 3] and splits.test is None and len(splits.val) == 2
    assert splits.classes == ("0", "1", "2", "3")  # it has no names


def test_grey_images_among_others_become_rgb(tmp_path):
    folder = tmp_path / "caltech101" / "101_ObjectCategories"
    for name, mode, colour in (("ant", "RGB", (1, 2, 3)), ("bass", "L", 9), ("BACKGROUND_Google", "L", 9)):
        write(folder / name / "image_0001.jpg", colour, mode)
    splits = torchvision_dataset("Caltech101")(tmp_path)
    assert splits.classes == ("ant", "bass")
    assert [splits.train[i][0].shape[0] for i in range(2)] == [3, 3]


def test_fake_data_has_no_folder_and_no_names(tmp_path):
    splits = torchvision_dataset("FakeData", size=12, image_size=(3, 4, 4), num_classes=3)(tmp_path / "none")
    assert isinstance(splits.train, DatasetImages) and splits.train[0][0].shape == (3, 4, 4)
    assert splits.classes == ("0", "1", "2") and not (tmp_path / "none").exists()


def test_emnist_passes_its_split_on_and_finds_train_in_its_base_class():
    assert torchvision_sets._split_arguments(torchvision.datasets.EMNIST, {"split": "letters"}) == {
        "train": [{"train": True}],
        "test": [{"train": False}],
    }


def test_an_unknown_data_set_suggests_the_near_one(tmp_path):
    with pytest.raises(UserError, match="no data set 'Food1O1'. Did you mean 'Food101'?"):
        torchvision_dataset("Food1O1")(tmp_path)


def test_a_data_set_that_torchvision_cannot_download_says_what_it_needs(tmp_path):
    with pytest.raises(UserError, match=r"cannot read FER2013: .*not found"):
        torchvision_dataset("FER2013")(tmp_path)


def test_a_missing_argument_of_the_data_set_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot read EMNIST: .*'split'"):
        torchvision_dataset("EMNIST")(tmp_path)


def test_a_damaged_file_of_a_data_set_is_one_line(tmp_path):
    (write_food101(tmp_path) / "food-101" / "meta" / "test.json").write_text("{")
    with pytest.raises(UserError, match="cannot read Food101: Expecting"):
        torchvision_dataset("Food101")(tmp_path)
