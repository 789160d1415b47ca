"""A file that does not say what the model says is not kept."""

import numpy as np
import pytest

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.inference.onnx_model import session
from ignite_vision.inference.proof import compared, drawn, prove
from ignite_vision.inference.source import open_source

OURS = np.array([[0.7, 0.2, 0.1], [0.50002, 0.49998, 0.0], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]])
TARGETS = np.array([0, 0, 2, 0])


def proof(theirs, tmp_path, targets=TARGETS, ours=OURS):
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    return compared("images", ours, np.array(theirs), targets, 1.0, 2.0, file)


def test_the_same_answers_are_a_proof(tmp_path):
    found = proof(OURS, tmp_path)
    assert (found.images, found.difference, found.changed, found.bytes) == (4, 0, 0, 5)
    assert found.accuracy == found.before == 0.75
    assert found.failure("fp32") is None


def test_a_difference_above_the_tolerance_fails(tmp_path):
    assert proof(OURS + 9e-5, tmp_path).failure("fp32") is None
    assert "probabilities differ by 0.0002" in proof(OURS + 2e-4, tmp_path).failure("fp32")


def test_a_decision_that_was_a_draw_may_change(tmp_path):
    theirs = OURS.copy()
    theirs[1] = [0.49998, 0.50002, 0]
    found = proof(theirs, tmp_path)
    assert (found.changed, found.clear, found.failure("fp32")) == (1, 0, None)


def test_int8_may_lose_two_images_or_one_percent(tmp_path):
    ours = np.tile([0.9, 0.1], (1000, 1))
    targets = np.zeros(1000, dtype=int)
    for lost, fails in ((10, False), (11, True)):
        theirs = ours.copy()
        theirs[:lost] = [0.4, 0.6]
        assert bool(proof(theirs, tmp_path, targets, ours).failure("int8")) == fails
        assert bool(proof(theirs, tmp_path, None, ours).failure("fp16")) == fails
    theirs = OURS.copy()
    theirs[:2] = theirs[:2, ::-1]
    assert proof(theirs, tmp_path).failure("int8") is None  # two of four


def test_numbers_that_are_not_finite_fail(tmp_path):
    for precision in ("fp32", "fp16"):
        assert "not finite" in proof(OURS * np.nan, tmp_path).failure(precision)


def test_one_class_is_no_special_case(tmp_path):
    assert proof(np.ones((3, 1)), tmp_path, None, np.ones((3, 1))).failure("fp32") is None


def test_a_file_of_other_answers_is_refused(digits_run, digits_onnx, monkeypatch):
    monkeypatch.setattr("ignite_vision.inference.proof.MOST", 40)
    source, ask = open_source(digits_run, None), session(digits_onnx)
    found = prove(source, ask, digits_onnx, "fp32")
    assert found.images == 40
    assert found.difference < 1e-5
    with pytest.raises(UserError, match=r"the export is not the model: on 40 test images") as failure:
        prove(source, lambda images: ask(255 - images), digits_onnx, "fp32")
    assert failure.value.code == DAMAGED


def test_without_the_runs_images_drawn_ones_are_compared(digits_run, digits_onnx):
    source = open_source(digits_run / "model.safetensors", None)
    found = prove(source, session(digits_onnx), digits_onnx, "fp32")
    assert (found.of, found.accuracy) == ("images drawn at random", None)
    first, again = ([tuple(image.shape) for image in drawn(source.classifier)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 10
