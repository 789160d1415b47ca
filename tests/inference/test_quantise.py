"""8-bit integers inside the network alone, calibrated again."""

import numpy as np
import pytest

from ignite_vision.errors import UserError
from ignite_vision.inference.onnx_model import session
from ignite_vision.inference.quantise import divide_logits, quantise
from ignite_vision.inference.source import open_source

onnx = pytest.importorskip("onnx")


def network_of(path):
    """(nodes around the network, those in it), by where the pixels are normalised and the logits divided."""
    nodes = list(onnx.load(str(path)).graph.node)
    first = next(i for i, node in enumerate(nodes) if node.op_type == "Conv")
    last = max(i for i, node in enumerate(nodes) if node.op_type == "Gemm")
    return nodes[:first] + nodes[last + 1 :], nodes[first : last + 1]


def test_the_network_is_quantised_and_what_is_around_it_is_not(digits_run, digits_onnx, tmp_path):
    source = open_source(digits_run, None)
    around = [node.name for node in network_of(digits_onnx)[0]]
    made = quantise(source, digits_onnx, around, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert made.method in ("MinMax", "Percentile")
    kinds = [tensor.data_type for tensor in onnx.load(str(made.path)).graph.initializer if "Conv" not in tensor.name]
    assert onnx.TensorProto.INT8 in kinds
    before, after = network_of(digits_onnx)[0], network_of(made.path)[0]
    assert sum(node.op_type == "MatMul" for node in before) == sum(node.op_type == "MatMul" for node in after) == 2
    assert 0.05 <= made.temperature <= 20
    images = source.images("test", 100)
    ask = session(made.path)
    labels = [
        int(ask(np.asarray(images[i][0].expand(3, -1, -1).permute(1, 2, 0))[None].copy()).argmax()) for i in range(100)
    ]
    assert np.mean(labels == images.targets.numpy()) > 0.9


def test_without_images_the_error_says_what_is_missing(digits_run, digits_onnx, tmp_path):
    source = open_source(digits_run / "model.safetensors", None)
    with pytest.raises(UserError, match="int8 is calibrated on the run's images: a model file alone has no images"):
        quantise(source, digits_onnx, [], tmp_path / "model.onnx")


def test_logits_are_divided_once_more(digits_onnx, tmp_path):
    model = onnx.load(str(digits_onnx))
    divide_logits(model, 2.0)
    onnx.checker.check_model(model, full_check=True)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    once, twice = session(digits_onnx)(image)[0], session(tmp_path / "model.onnx")(image)[0]
    wanted = np.sqrt(once.astype(float)) / np.sqrt(once.astype(float)).sum()
    assert twice == pytest.approx(wanted, abs=1e-5)
