"""Images that are not a run's own: aligned by class name, and counted where the model has seen them."""

import pytest

from ignite_vision import datasets
from ignite_vision.data.splits import cut
from ignite_vision.data.splits_csv import write_csv
from ignite_vision.errors import UserError
from ignite_vision.evaluation.other_data import align, seen_in_training, warn_of_seen


def test_classes_are_matched_by_name_whatever_their_order(image_folder):
    aligned = align(datasets.image_folder(image_folder), "test", ("cherry", "apple", "banana"))
    names = [("cherry", "apple", "banana")[t] for t in aligned.images.targets.tolist()]
    assert names == [aligned.images.sample_id(i).split("/")[0] for i in range(36)]
    assert (aligned.unknown_classes, aligned.missing_classes, aligned.left_out) == ((), (), 0)


def test_unknown_classes_are_left_out_and_missing_ones_said(image_folder):
    aligned = align(datasets.image_folder(image_folder), "test", ("banana", "damson"))
    assert (aligned.unknown_classes, aligned.missing_classes, aligned.left_out) == (
        ("apple", "cherry"),
        ("damson",),
        24,
    )
    assert len(aligned.images) == 12
    assert aligned.notes() == [
        "24 images of classes unknown to the model are left out: apple, cherry",
        "classes of the model without images here: damson",
    ]


def test_no_common_class_is_an_error_that_names_those_of_the_model(image_folder):
    with pytest.raises(UserError, match="no class of the data is known to the model. The model knows cat, dog"):
        align(datasets.image_folder(image_folder), "test", ("cat", "dog"))


def test_images_that_the_model_was_trained_or_selected_on_are_counted(image_folder, tmp_path):
    splits = cut(datasets.image_folder(image_folder), 0.25, 0.25, 0)
    write_csv(splits, tmp_path / "splits.csv")
    said = []
    assert seen_in_training(splits.test, splits.classes, tmp_path / "splits.csv") == 0
    assert warn_of_seen(splits.train, splits.classes, tmp_path / "splits.csv", said.append) == len(splits.train)
    assert "among those that the model was trained" in said[0]


def test_a_lost_splits_csv_is_said_not_guessed(image_folder, tmp_path):
    said = []
    splits = datasets.image_folder(image_folder)
    assert warn_of_seen(splits.train, splits.classes, tmp_path / "splits.csv", said.append) is None
    assert "it is not known whether" in said[0]
