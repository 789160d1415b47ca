"""An ONNX file holds the whole classifier, and nothing of the machine that wrote it."""

import builtins
import json
from pathlib import Path

import pytest
import torch

from ignite_vision.errors import UserError
from ignite_vision.inference.onnx_file import require_onnx, write_onnx, write_proto
from ignite_vision.inference.portable import Portable
from ignite_vision.models.model_file import read_header
from tests.inference.test_portable import preprocessing

onnx = pytest.importorskip("onnx")


def test_images_have_named_sizes_and_probabilities_as_many_columns_as_classes(digits_onnx):
    graph = onnx.load(str(digits_onnx)).graph
    sizes = [
        [d.dim_param or d.dim_value for d in end[0].type.tensor_type.shape.dim] for end in (graph.input, graph.output)
    ]
    assert sizes == [["n", "height", "width", 3], ["n", 10]]
    assert [end[0].name for end in (graph.input, graph.output)] == ["images", "probabilities"]


def test_the_checker_of_onnx_has_nothing_against_it(digits_onnx):
    onnx.checker.check_model(str(digits_onnx), full_check=True)


def test_classes_licence_and_settings_are_in_it(digits_onnx, digits_run):
    found = {entry.key: entry.value for entry in onnx.load(str(digits_onnx)).metadata_props}
    header, ours = json.loads(found["ignite_vision"]), read_header(digits_run / "model.safetensors")
    assert found["license"] == "unknown"  # of weights that nobody published
    for name in ("classes", "preprocessing", "temperature", "architecture", "weights_sha256"):
        assert header[name] == ours[name]
    assert header["export"] == {"precision": "fp32", "trained_in": ours["precision"]}


def test_no_path_of_the_machine_is_in_it(digits_onnx):
    data = digits_onnx.read_bytes()
    here = (Path.home(), Path(__file__).parents[2], Path(torch.__file__).parents[1], digits_onnx.parent)
    for word in (*(str(path).encode() for path in here if path != Path("/")), b"site-packages", b".py", b"stack_trace"):
        assert word not in data


def test_there_is_no_second_file_beside_it(digits_onnx):
    assert [path.name for path in digits_onnx.parent.glob("*model*")] == ["model.onnx", "model.safetensors"] or sorted(
        path.name for path in digits_onnx.parent.glob("*model*")
    ) == ["model.onnx", "model.safetensors"]


def test_a_network_that_decides_by_its_pixels_is_refused_in_one_line(tmp_path):
    class Undecided(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :2] if x.sum() > 0 else x.flatten(1)[:, 2:4]

    module = Portable(Undecided(), preprocessing(8, 8), 1.0)
    with pytest.raises(UserError, match="the network cannot be exported: ") as failure:
        write_onnx(module, tmp_path / "model.onnx", {})
    assert "\n" not in str(failure.value)
    assert not list(tmp_path.iterdir())


def test_what_one_file_cannot_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ignite_vision.inference.onnx_file.LARGEST", 10)
    with pytest.raises(UserError, match="above 2 GB"):
        write_proto(onnx.ModelProto(), tmp_path / "model.onnx", {"classes": ["a"]})


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def without(name, *others):
        if name == "onnxscript":
            raise ImportError("no module", name=name)
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"onnxscript.*pip install 'ignite-vision\[onnx\]'"):
        require_onnx()
