"""A stream of images becomes a stream of answers: every kind, in order, in time, whatever is broken."""

import itertools
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from ignite_vision import Classifier, datasets
from ignite_vision.data.images import read_image
from ignite_vision.errors import UserError
from ignite_vision.inference.answers import answers
from tests.helpers.runs import train


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A model of colours, trained for a moment."""
    from tests.conftest import image_folder, make_run

    folder = image_folder.__wrapped__(tmp_path_factory.mktemp("data"))
    fields = {"data_function": datasets.image_folder, "data": folder, "model": "cifar10_cnn", "epochs": 1}
    prepared = make_run.__wrapped__(tmp_path_factory.mktemp("runs"))(**fields)
    train(prepared)
    classifier = Classifier.load(prepared.directory)
    classifier.photos = sorted(folder.rglob("*.jpg"))
    return classifier


def rows(answers):
    return np.stack([answer.probabilities for answer in answers])


def expected(classifier, paths):
    """One by one, as a batch would answer."""
    return np.concatenate([classifier.probabilities(classifier.canvas(read_image(p))[None]) for p in paths])


def test_every_image_is_answered_in_order_with_the_probabilities_of_all_classes(classifier):
    found = list(classifier.predict(classifier.photos, threads=3))
    assert [answer.path for answer in found] == [str(path) for path in classifier.photos]
    assert rows(found).dtype == np.float64
    assert rows(found).sum(1) == pytest.approx(1)
    assert np.array_equal(rows(found), expected(classifier, classifier.photos))
    assert {answer.error for answer in found} == {None}


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 36])
def test_any_number_of_images_has_the_same_answers(classifier, n):
    found = list(classifier.predict(classifier.photos[:n]))
    assert len(found) == n
    for answer, row in zip(found, expected(classifier, classifier.photos), strict=False):
        assert np.array_equal(answer.probabilities, row)


def test_paths_pillow_images_arrays_and_tensors_of_one_picture_are_one_image(classifier):
    path = classifier.photos[3]
    pixels = read_image(path)
    picture = Image.open(path)
    array = np.asarray(picture)
    readonly = array.copy()
    readonly.setflags(write=False)
    kinds = [path, str(path), picture, array, readonly, array[:, ::-1][:, ::-1], pixels, pixels.clone()]
    found = rows(classifier.predict(kinds))
    assert np.array_equal(found, np.repeat(found[:1], len(kinds), 0))
    assert picture.getpixel((0, 0)) is not None  # still open


def test_grey_arrays_and_tensors_are_as_grey_pictures(classifier, tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    found = rows(classifier.predict([tmp_path / "grey.png", grey, torch.from_numpy(grey)[None], Image.fromarray(grey)]))
    assert np.array_equal(found, np.repeat(found[:1], 4, 0))


def test_a_pillow_image_is_turned_as_its_file_would_be(classifier, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(classifier.photos[0]).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        one, other = rows(classifier.predict([tmp_path / "turned.png", turned]))
    assert np.array_equal(one, other)


def test_a_broken_image_is_an_answer_with_its_reason_in_its_place(classifier, tmp_path):
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(classifier.photos[0].read_bytes()[:-40])
    text = tmp_path / "text.png"
    text.write_text("no picture")
    good = classifier.photos[:2]
    found = list(classifier.predict([cut, good[0], tmp_path / "none.jpg", tmp_path, good[1], text]))
    assert [answer.error for answer in found] == [
        "cannot read image: the file is cut off",
        None,
        "cannot read image: No such file or directory",
        "cannot read image: not a regular file",
        None,
        "cannot read image: not an image of a known format",
    ]
    assert [answer.probabilities is None for answer in found] == [True, False, True, True, False, True]
    assert np.array_equal(rows([found[1], found[4]]), expected(classifier, good))


def test_a_pillow_image_whose_file_is_cut_off_is_an_answer_too(classifier, tmp_path):
    Image.open(classifier.photos[0]).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:600])
    with Image.open(tmp_path / "half.png") as half:
        broken, good = classifier.predict([half, classifier.photos[0]])
    assert (broken.path, broken.probabilities, broken.error) == (None, None, "cannot read image: the file is cut off")
    assert good.error is None


def test_nothing_but_broken_images_is_nothing_but_errors(classifier, tmp_path):
    found = list(classifier.predict([tmp_path / f"{i}.jpg" for i in range(40)]))
    assert [answer.path for answer in found] == [str(tmp_path / f"{i}.jpg") for i in range(40)]
    assert all(answer.error and answer.probabilities is None for answer in found)


def test_the_first_answer_comes_while_images_are_still_being_made(classifier):
    """An endless stream, of which no more than two batches are taken ahead."""
    taken = []

    def endless():
        for i in itertools.count():
            taken.append(i)
            yield classifier.photos[i % 36]

    stream = classifier.predict(endless())
    assert taken == []
    for i in range(50):
        next(stream)
        assert len(taken) <= i + 1 + 3 * classifier.batch_size
    stream.close()


def test_an_image_in_memory_may_change_once_the_next_is_asked_for(classifier):
    """As the frames of a camera do."""
    frame = np.zeros((*reversed((classifier.preprocessing.resize,) * 2), 3), dtype=np.uint8)
    tensor = torch.zeros(3, classifier.preprocessing.resize, classifier.preprocessing.resize, dtype=torch.uint8)

    def frames():
        for value in (0, 90, 180):
            frame[:] = value
            yield frame
            tensor[:] = value
            yield tensor

    found = rows(classifier.predict(frames()))
    alone = rows(classifier.predict([np.full_like(frame, value) for value in (0, 0, 90, 90, 180, 180)]))
    assert np.array_equal(found, alone)
    assert len(np.unique(found, axis=0)) == 3


def test_what_the_images_raise_comes_out_and_the_threads_end(classifier):
    def failing():
        yield classifier.photos[0]
        raise RuntimeError("the camera is gone")

    with pytest.raises(RuntimeError, match="the camera is gone"):
        list(classifier.predict(failing()))
    stream = classifier.predict(classifier.photos)
    next(stream)
    stream.close()
    deadline = time.monotonic() + 30
    while any(thread.name.startswith("predict") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8, 3)),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros(8, np.uint8),
        torch.zeros(3, 8, 8),
        torch.zeros(8, 8, dtype=torch.uint8),
        torch.zeros(4, 8, 8, dtype=torch.uint8),
        torch.zeros(3, 0, 8, dtype=torch.uint8),
    ],
    ids=["floats", "four channels", "empty", "a row", "float tensor", "flat tensor", "RGBA tensor", "empty tensor"],
)
def test_an_array_or_a_tensor_that_is_no_image_is_refused(classifier, image):
    with pytest.raises(ValueError, match="must be uint8"):
        list(classifier.predict([image]))


@pytest.mark.parametrize("image", [None, 3, b"bytes", [1, 2]])
def test_what_is_nothing_of_an_image_is_refused(classifier, image):
    with pytest.raises(TypeError, match="an image must be a path, a Pillow image, an array or a tensor, not"):
        list(classifier.predict([image]))


def test_one_image_instead_of_several_is_refused_at_once(classifier):
    path = classifier.photos[0]
    pixels = read_image(path)
    for single in (path, str(path), Image.new("RGB", (8, 8)), pixels.permute(1, 2, 0).numpy(), pixels, b"x.jpg"):
        with pytest.raises(TypeError, match=r"for one, pass \[image\]"):
            classifier.predict(single)


def test_a_batch_in_one_array_or_tensor_is_several_images(classifier):
    batch = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)
    one = rows(classifier.predict(batch))
    assert np.array_equal(one, rows(classifier.predict(torch.from_numpy(batch).permute(0, 3, 1, 2))))
    assert len(one) == 5


def test_an_image_without_pixels_and_one_of_too_many_are_answers(classifier):
    empty, large = classifier.predict([Image.new("RGB", (0, 5)), Image.new("1", (20_000, 6_000))])
    assert empty.error == "cannot read image: it has no pixels"
    assert "more than 100,000,000 pixels" in large.error


def test_a_model_that_overflows_is_an_error_for_the_image_alone(classifier):
    def some(canvases):
        found = classifier.probabilities(canvases)
        found[1] = np.nan
        return found

    found = list(answers(classifier.photos[:3], classifier.canvas, some, batch=16, threads=1))
    assert [answer.error for answer in found] == [None, "the model's answer is not a number", None]


def test_an_error_stands_for_an_image_that_could_not_be_had(classifier):
    gone = UserError("the download failed", "http://example.org/1.jpg")
    found = list(classifier.predict([gone, classifier.photos[0], UserError("gone")]))
    assert [(answer.path, answer.error) for answer in found] == [
        ("http://example.org/1.jpg", "the download failed"),
        (str(classifier.photos[0]), None),
        (None, "gone"),
    ]


def test_a_name_with_a_nul_is_an_error_too(classifier):
    (found,) = classifier.predict(["nul\0.jpg"])
    assert found.error == "cannot read image: embedded null byte"
