"""What TensorBoard shows of a finished run, read back from its files."""

import io

import numpy as np
import pytest
from PIL import Image

from ignite_vision.data.containers import ArrayImages
from ignite_vision.report.board import confusion_picture, samples_picture, write_for_tensorboard
from tests.helpers.predictions import predictions as made
from tests.helpers.reports import pictures, predicted
from tests.training.test_tensorboard import events


def test_pictures_and_hyperparameters_with_results_are_in_the_files(tmp_path):
    predictions = predicted(20)
    images = ArrayImages(pictures(20), predictions.targets, "test")
    numbers = {"accuracy": 0.75, "loss": None, "balanced_accuracy": 0.5, "macro_f1": 0.25}
    settings = {"lr": 0.5, "model": "resnet18", "augment": ["flip"], "patience": None, "sync_bn": False}
    write_for_tensorboard(tmp_path, 3, predictions, images, numbers, settings)
    values = {value.tag: (event.step, value) for event in events(tmp_path) for value in event.summary.value}
    assert {"test/confusion", "test/predictions", "test/accuracy", "_hparams_/session_start_info"} <= values.keys()
    step, confusion = values["test/confusion"]
    assert step == 4
    assert Image.open(io.BytesIO(confusion.image.encoded_image_string)).size[0] > 600
    assert values["test/accuracy"][1].simple_value == 0.75
    assert "test/loss" not in values
    kept = values["_hparams_/session_start_info"][1].metadata.plugin_data.content
    assert all(word in kept for word in (b"resnet18", b"lr", b'["flip"]'))


def test_the_confusion_is_blue_where_it_is_right_and_orange_where_it_is_wrong():
    picture = confusion_picture(made([0, 0, 1, 2], [0, 1, 1, 2], ("ant", "bee", "cow")))

    def colour(a, b):
        return picture[110 + 200 * a + 100, 110 + 200 * b + 100].astype(int)

    assert colour(1, 1)[2] > colour(1, 1)[0]
    assert colour(0, 1)[0] > colour(0, 1)[2]
    assert (colour(2, 0) == 255).all()


@pytest.mark.parametrize("classes", [1, 31, 700])
def test_any_number_of_classes_and_any_name_has_a_picture(classes):
    names = tuple(f"クラス <b>{i} with a very long name" for i in range(classes))
    found = confusion_picture(made(list(range(classes)), list(range(classes)), names))
    assert found.dtype == np.uint8
    assert 500 < found.shape[0] < 800


@pytest.mark.parametrize("n", [1, 5, 60])
def test_up_to_sixteen_images_are_shown(n):
    predictions = predicted(n)
    found = samples_picture(predictions, ArrayImages(pictures(n), predictions.targets, "test"))
    assert found.shape == (156 * -(-min(n, 16) // 4), 512, 3)
