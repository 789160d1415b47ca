"""An exported file answers as the model does; a file from a stranger is looked at before it is run."""

import json
import os
import pickle

import numpy as np
import pytest
import torch

from ignite_vision import Classifier
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.inference.onnx_model import OnnxClassifier
from ignite_vision.testing import digits

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper


@pytest.fixture
def images():
    """40 digits, (3,8,8) uint8 each, and two of other sizes."""
    pixels = digits().train.pixels()[:40].expand(-1, 3, -1, -1)
    larger = torch.nn.functional.interpolate(pixels[:2], (37, 51))
    return [*pixels, larger[0], larger[1, :, :, :20]]


def test_it_answers_as_the_model_does(digits_run, digits_onnx, images):
    ours = list(Classifier.load(digits_run, precision="fp32", device="cpu").predict(images))
    theirs = list(Classifier.load(digits_onnx).predict(images))
    assert len(theirs) == len(images)
    for one, other in zip(ours, theirs, strict=True):
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-5)
        assert other.probabilities.dtype == np.float64


def test_it_knows_classes_temperature_and_threshold(digits_run, digits_onnx):
    one, other = Classifier.load(digits_run), Classifier.load(digits_onnx)
    for name in ("classes", "temperature", "abstain_below", "preprocessing"):
        assert getattr(one, name) == getattr(other, name)
    assert (other.precision, other.device.type, other.runtime) == ("fp32", "cpu", "onnx")


def test_it_has_no_heat_maps(digits_onnx):
    from ignite_vision.inference.heat import heat_layer

    assert heat_layer(Classifier.load(digits_onnx)) is None


def test_logits_are_the_models_up_to_a_number_for_each_image(digits_run, digits_onnx, images):
    batch = torch.stack(images[:5])
    ours, theirs = (Classifier.load(path)(batch) for path in (digits_run, digits_onnx))
    apart = (ours - theirs) - (ours - theirs).mean(1, keepdim=True)
    assert apart.abs().max() < 0.2  # a bf16 run's own precision


def test_a_broken_image_is_an_answer_with_an_error(digits_onnx, images, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    answers = list(Classifier.load(digits_onnx).predict([images[0], tmp_path / "broken.jpg", images[1]]))
    assert [answer.error is None for answer in answers] == [True, False, True]


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"device": "cuda"}])
def test_a_precision_or_device_that_it_has_not_is_refused(digits_onnx, options):
    with pytest.raises(UserError, match="this ONNX file computes in fp32|run on the CPU") as failure:
        Classifier.load(digits_onnx, **options)
    assert failure.value.code == 2


def test_it_is_not_evaluated(digits_onnx):
    with pytest.raises(UserError, match="an ONNX file is not evaluated"):
        Classifier.load(digits_onnx).evaluate(digits().train)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("canary",)


def made(shape=("n", 10), inputs=("images",), kind=onnx.TensorProto.UINT8, domain="", header=None, node="Shape"):
    """A little ONNX model, with our header unless it is None."""
    ends = [helper.make_tensor_value_info(name, kind, ["n", "h", "w", 3]) for name in inputs]
    answer = helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, shape)
    nodes = [
        helper.make_node("Cast", [inputs[0]], ["wide"], to=1),
        helper.make_node(node, ["wide"], ["probabilities"], domain=domain),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends, [answer]), opset_imports=[helper.make_opsetid("", 20)]
    )
    if header is not None:
        helper.set_model_props(model, {"ignite_vision": json.dumps(header)})
    return model


@pytest.fixture
def header(digits_onnx):
    props = onnx.load(str(digits_onnx)).metadata_props
    return json.loads(next(entry.value for entry in props if entry.key == "ignite_vision"))


HOSTILE = {
    "nothing": lambda good, header: b"",
    "garbage": lambda good, header: b"\x00garbage\xff" * 99,
    "a pickle": lambda good, header: pickle.dumps(Evil()),
    "cut off": lambda good, header: good[: len(good) // 2],
    "its last byte is missing": lambda good, header: good[:-1],
    "of another program": lambda good, header: made().SerializeToString(),
    "a header that is a list": lambda good, header: made(header=[1]).SerializeToString(),
    "a deep header": lambda good, header: deep().SerializeToString(),
    "a class less": lambda good, header: made(header={**header, "classes": ["a"]}).SerializeToString(),
    "two inputs": lambda good, header: made(inputs=("images", "more"), header=header).SerializeToString(),
    "another input": lambda good, header: made(inputs=("pixels",), header=header).SerializeToString(),
    "floats in": lambda good, header: made(kind=onnx.TensorProto.FLOAT, header=header).SerializeToString(),
    "another domain": lambda good, header: made(domain="evil", node="Run", header=header).SerializeToString(),
    "another shape out": lambda good, header: made(node="Identity", header=header).SerializeToString(),
    "weights elsewhere": lambda good, header: elsewhere(good).SerializeToString(),
    "sparse weights elsewhere": lambda good, header: sparse(good).SerializeToString(),
    "a precision that is none": lambda good, header: of(good, {**header, "export": {"precision": "\n"}}),
    "a class that cannot be written": lambda good, header: of(good, {**header, "classes": ["\ud800", *"abcdefghi"]}),
    "a graph within it": lambda good, header: within(good).SerializeToString(),
    "an opset that nobody has": lambda good, header: later(good).SerializeToString(),
}


def deep():
    model = made()
    helper.set_model_props(model, {"ignite_vision": "[" * 100_000})
    return model


def elsewhere(good):
    model = onnx.ModelProto.FromString(good)
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return model


def sparse(good):
    model = onnx.ModelProto.FromString(good)
    held = model.graph.node[0].attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR)
    held.sparse_tensor.values.data_location = onnx.TensorProto.EXTERNAL
    return model


def of(good, header):
    """The same file with another header."""
    model = onnx.ModelProto.FromString(good)
    helper.set_model_props(model, {"ignite_vision": json.dumps(header)})
    return model.SerializeToString()


def within(good):
    model = onnx.ModelProto.FromString(good)
    model.graph.node[0].attribute.add(name="body", type=onnx.AttributeProto.GRAPH).g.CopyFrom(made(domain="evil").graph)
    return model


def later(good):
    model = onnx.ModelProto.FromString(good)
    model.opset_import[0].version = 9999
    return model


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(kind, digits_onnx, header, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.onnx"
    path.write_bytes(HOSTILE[kind](digits_onnx.read_bytes(), header))
    with pytest.raises(UserError) as failure:
        Classifier.load(path)
    assert failure.value.code == DAMAGED
    assert "\n" not in str(failure.value)
    assert len(str(failure.value)) < 500
    assert not (tmp_path / "canary").exists()


def test_a_pipe_a_folder_and_nothing_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "folder.onnx").mkdir()
    for name in ("pipe.onnx", "folder.onnx", "nothing.onnx"):
        with pytest.raises(UserError, match="cannot read the model|no model.safetensors in this folder|no such"):
            Classifier.load(tmp_path / name)


@pytest.mark.parametrize("answer", [np.zeros((1, 9)), np.full((1, 10), 255.0), np.full((1, 10), np.nan), None])
def test_what_a_file_says_of_an_image_is_probabilities_or_an_error(answer, header):
    def ask(_images):
        if answer is None:
            raise RuntimeError("a node failed")
        return answer.astype(np.float32)

    with pytest.raises(UserError) as failure:
        OnnxClassifier(header, ask, "m.onnx").probabilities(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert failure.value.code == DAMAGED
