"""Other images for a model: classes by name, and which of them it knows already."""

import pytest
import torch

from ignite_vision import Splits, datasets
from ignite_vision.data.containers import ArrayImages
from ignite_vision.data.splits import cut
from ignite_vision.data.splits_csv import write_csv
from ignite_vision.errors import UserError
from ignite_vision.evaluation.other_data import align, seen_in_training, warn_of_seen


def grey(targets, name="train"):
    """Images whose first pixel is the number of the image."""
    images = torch.arange(len(targets), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)
    return ArrayImages(images, targets, name)


def numbers(images):
    return [int(images[i][0][0, 0, 0]) for i in range(len(images))]


def test_classes_in_another_order_are_matched_by_name():
    given = Splits(train=grey([0, 1, 2, 0]), classes=("cow", "ant", "bee"))
    aligned = align(given, "test", ("ant", "bee", "cow"))
    assert aligned.images.targets.tolist() == [2, 0, 1, 2]
    assert [aligned.images[i][1] for i in range(4)] == [2, 0, 1, 2]
    assert numbers(aligned.images) == [0, 1, 2, 3]
    assert aligned.notes() == []
    assert aligned.split == "all"


def test_unknown_classes_are_left_out_and_missing_ones_said():
    given = Splits(train=grey([0, 1, 2, 1]), classes=("ant", "yak", "zebra"))
    aligned = align(given, "test", ("ant", "bee"))
    assert numbers(aligned.images) == [0]
    assert aligned.facts() == {"unknown_classes": ["yak", "zebra"], "missing_classes": ["bee"], "left_out": 3}
    assert aligned.notes() == [
        "3 images of classes unknown to the model are left out: yak, zebra",
        "classes of the model without images here: bee",
    ]


def test_a_class_without_images_counts_as_missing():
    given = Splits(train=grey([0, 0]), classes=("ant", "bee"))
    assert align(given, "test", ("ant", "bee")).missing_classes == ("bee",)


def test_no_common_class_is_an_error_that_names_those_of_the_model():
    given = Splits(train=grey([0, 1]), classes=("yak", "zebra"))
    with pytest.raises(UserError, match="is known to the model. The model knows a, b, c, d, e, f, …"):
        align(given, "test", tuple("abcdefg"))


def test_of_data_with_splits_the_one_of_that_name_is_taken():
    given = Splits(train=grey([0, 1]), test=grey([1, 0, 1], "test"), classes=("ant", "bee"))
    assert len(align(given, "test", ("ant", "bee")).images) == 3
    assert len(align(given, "train", ("ant", "bee")).images) == 2
    with pytest.raises(UserError, match="the data has no val images. Choose another --split"):
        align(given, "val", ("ant", "bee"))


@pytest.fixture
def photos(image_folder, tmp_path):
    """(the photographs, the splits.csv of a run on them)."""
    given = datasets.image_folder(image_folder)
    write_csv(cut(given, 0.25, 0.25, 0), tmp_path / "splits.csv")
    return given, tmp_path / "splits.csv"


def test_images_of_training_and_validation_are_recognised_wherever_they_lie(photos, image_folder, tmp_path):
    given, table = photos
    assert seen_in_training(given.train, given.classes, table) == 27
    moved = image_folder.rename(tmp_path / "level").rename(tmp_path / "train")
    (tmp_path / "moved").mkdir()
    moved.rename(tmp_path / "moved" / "train")
    again = datasets.image_folder(tmp_path / "moved")
    assert seen_in_training(again.train, again.classes, table) == 27


def test_test_images_and_images_of_another_class_or_size_are_not(photos, image_folder):
    given, table = photos
    test = cut(given, 0.25, 0.25, 0).test
    assert seen_in_training(test, given.classes, table) == 0
    assert seen_in_training(given.train, ("a", "b", "c"), table) == 0
    for path in image_folder.rglob("*.jpg"):
        path.write_bytes(path.read_bytes() + b"\0")
    assert seen_in_training(given.train, given.classes, table) == 0


def test_arrays_have_no_names_to_recognise(photos):
    assert seen_in_training(grey([0, 1]), ("apple", "banana"), photos[1]) == 0


def test_what_was_seen_is_a_warning_and_without_splits_csv_nobody_knows(photos, tmp_path):
    given, table = photos
    lines = []
    assert warn_of_seen(given.train, given.classes, table, lines.append) == 27
    assert lines[0].startswith("warning: 27 of these 36 images are among those that the model was trained")
    assert warn_of_seen(grey([0, 1]), given.classes, table, lines.append) == 0
    assert len(lines) == 1
    assert warn_of_seen(given.train, given.classes, tmp_path / "nothing.csv", lines.append) is None
    assert "not known" in lines[1]
