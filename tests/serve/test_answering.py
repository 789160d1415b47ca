"""The same answers as anywhere else, and only so many at a time."""

import asyncio

import numpy as np
import pytest
import torch

from ignite_vision import Classifier
from ignite_vision.data.images import decode
from ignite_vision.errors import UserError
from ignite_vision.serve import answering
from ignite_vision.serve.answering import Answering, Busy, TooLarge
from tests.helpers.classifiers import CLASSES, write_model
from tests.helpers.servers import bomb, photo


@pytest.fixture(scope="module")
def classifier(model):
    return Classifier.load(model)


def asked(classifier, *files, top=3, heat=False):
    """The answers to all files, asked at once; an error in its place."""

    async def ask():
        ours = Answering(classifier)
        async with ours.running():
            requests = (ours.answer(file, top, heat) for file in files)
            return await asyncio.gather(*requests, return_exceptions=True)

    return asyncio.run(ask())


def test_probabilities_are_those_of_the_classifier(classifier):
    files = [photo(seed) for seed in range(21)]
    expected = list(classifier.predict(decode(file, "x") for file in files))
    answers = asked(classifier, *files)
    for answer, own in zip(answers, expected, strict=True):
        by_class = {row["class"]: row["probability"] for row in answer["top"]}
        given = np.array([by_class[name] for name in CLASSES])
        np.testing.assert_allclose(given, own.probabilities, atol=1e-5)
        assert answer["top"][0]["class"] == CLASSES[own.probabilities.argmax()]
        assert [row["probability"] for row in answer["top"]] == sorted(given, reverse=True)


@pytest.mark.parametrize(("floor", "sure"), [(None, True), (0.0, True), (0.99, False)])
def test_below_the_models_floor_it_is_not_sure(tmp_path, floor, sure):
    (answer,) = asked(Classifier.load(write_model(tmp_path, abstain_below=floor)), photo())
    assert answer["sure"] is sure
    assert answer["class"] == (answer["top"][0]["class"] if sure else None)


def test_as_many_classes_as_were_asked_for_and_there_are(classifier):
    assert [len(asked(classifier, photo(), top=top)[0]["top"]) for top in (1, 2, 9)] == [1, 2, 3]


def test_a_heat_map_lies_in_the_images_own_pixels(classifier):
    (answer,) = asked(classifier, photo(size=(40, 100)), heat=True)
    heat = answer["heat_map"]
    assert heat["image"] == {"height": 40, "width": 100}
    assert heat["window"] == {"top": 0.0, "left": 30.0, "height": 40.0, "width": 40.0}
    assert heat["class"] == answer["top"][0]["class"]
    assert np.array(heat["grid"]).shape == (4, 4)
    assert np.array(heat["grid"]).max() == 1
    assert "heat_map" not in asked(classifier, photo())[0]


def test_what_is_no_image_is_an_error_of_its_own(classifier):
    bad, good = asked(classifier, b"no image", photo())
    assert isinstance(bad, UserError)
    assert "not an image" in str(bad)
    assert good["top"]


def test_too_many_pixels_are_refused_before_they_are_decoded(classifier):
    (refused,) = asked(classifier, bomb(50_001, 1_000))
    assert isinstance(refused, TooLarge)


def test_one_more_than_there_is_room_for_is_refused_at_once_and_later_ones_are_answered(classifier, monkeypatch):
    monkeypatch.setattr(answering, "ROOM", 3)

    async def ask():
        ours = Answering(classifier)
        async with ours.running():
            first = await asyncio.gather(*(ours.answer(photo(), 1, False) for _ in range(5)), return_exceptions=True)
            return first, await ours.answer(photo(), 1, False), ours.inside

    first, later, inside = asyncio.run(ask())
    assert [isinstance(answer, Busy) for answer in first] == [False, False, False, True, True]
    assert later["top"]
    assert inside == 0


def test_a_large_image_is_no_obstacle_for_small_ones(classifier, monkeypatch):
    order = []
    whole = Answering._decode

    def decode_slowly(self, data):
        picture = whole(self, data)
        order.append(picture.size)
        return picture

    monkeypatch.setattr(Answering, "_decode", decode_slowly)
    monkeypatch.setattr(answering, "LARGE_ROOM", 2)
    large, small = bomb(5_000, 4_000), photo()
    answers = asked(classifier, large, large, large, *[small] * 6)
    assert sum(isinstance(answer, Busy) for answer in answers) == 1
    assert order[-1] == (4_000, 5_000)
    assert order.count((50, 60)) == 6


def test_a_picture_keeps_its_canvas_alone(classifier):
    picture = Answering(classifier)._decode(photo(size=(32, 4000)))
    assert picture.canvas.untyped_storage().nbytes() == picture.canvas.numel() == 3 * 32 * 32
    assert picture.canvas.dtype == torch.uint8


def test_of_classes_that_are_equally_probable_the_first_is_the_answer_as_everywhere(classifier):
    said = Answering(classifier)._in_words(np.array([0.2, 0.4, 0.4]), 3)
    assert [row["class"] for row in said["top"]] == [CLASSES[1], CLASSES[2], CLASSES[0]]
