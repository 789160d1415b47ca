"""A file is there when it has proven itself, and nothing is there otherwise."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ignite_vision import Classifier
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.inference import export as module
from ignite_vision.inference.export import Request, export
from ignite_vision.inference.source import open_source

pytest.importorskip("onnxscript")


@pytest.fixture
def model(digits_run, tmp_path):
    """A model file in a folder of its own."""
    (tmp_path / "place").mkdir()
    return Path(shutil.copy(digits_run / "model.safetensors", tmp_path / "place"))


def refused(match, **fields):
    with pytest.raises(UserError, match=match) as failure:
        export(Request(**fields))
    return failure.value


class TestWhatDoesNotGoTogether:
    def test_int8_is_for_onnx(self, model):
        refused("int8 is for onnx, not for pt2", model=model, format="pt2", int8=True)

    def test_fp16_and_int8(self, model):
        refused("fp16 and int8 are two files", model=model, precision="fp16", int8=True)

    def test_a_copy_needs_a_place_and_no_precision(self, model):
        refused("is a safetensors file already", model=model, format="safetensors")
        refused("a copy has the precision", model=model, format="safetensors", precision="fp16")

    def test_int8_without_images(self, model):
        error = refused("int8 is calibrated on the run's images", model=model, int8=True)
        assert error.code == 2
        assert [path.name for path in model.parent.iterdir()] == ["model.safetensors"]


class TestWhereItGoes:
    def test_a_folder_another_ending_and_no_place_at_all(self, model, tmp_path):
        refused("--out is a folder", model=model, out=tmp_path)
        refused("does not end in .onnx", model=model, out=tmp_path / "model.bin")
        refused("cannot write: No such file or directory", model=model, out=tmp_path / "nothing" / "model.onnx")

    def test_a_file_that_is_there_is_not_replaced_unless_forced(self, model):
        there = model.with_name("model.onnx")
        there.write_text("mine")
        refused("the file is there already.*--force", model=model)
        assert there.read_text() == "mine"

    def test_never_the_model_itself(self, model):
        refused("this is the model itself", model=model, out=model, format="safetensors", force=True)


def test_a_copy_is_the_same_bytes(model, tmp_path):
    done = export(Request(model, "safetensors", out=tmp_path / "copy.safetensors"))
    assert done.path.read_bytes() == model.read_bytes()
    assert done.proof is None


def test_a_file_that_fails_its_proof_is_not_kept_and_the_old_one_stays(model, digits_onnx, monkeypatch):
    there = model.with_name("model.onnx")
    there.write_text("the old one")

    def written(portable, path, header):
        shutil.copy(digits_onnx, path)
        return []

    monkeypatch.setattr(module, "write_onnx", written)
    monkeypatch.setattr(module, "session", lambda path: lambda images: np.full((1, 10), 0.1, dtype=np.float32))
    error = refused("the export is not the model", model=model, force=True)
    assert error.code == DAMAGED
    assert there.read_text() == "the old one"
    assert sorted(path.name for path in model.parent.iterdir()) == ["model.onnx", "model.safetensors"]


def test_a_full_disk_leaves_the_old_file(model, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_onnx", full)
    with pytest.raises(OSError, match="No space left"):
        export(Request(model))
    assert [path.name for path in model.parent.iterdir()] == ["model.safetensors"]


@pytest.mark.slow
class TestOfARun:
    def test_int8_is_the_smallest_and_has_its_own_temperature(self, digits_run, digits_onnx, tmp_path):
        done = export(Request(digits_run, int8=True, out=tmp_path / "model.onnx"))
        made = Classifier.load(done.path)
        assert done.computes == made.precision == "int8"
        assert f"temperature {made.temperature:.3g}" in done.notes[0]
        assert done.path.stat().st_size < digits_onnx.stat().st_size
        assert done.proof.accuracy >= done.proof.before - 0.01

    def test_fp16_answers_nearly_alike(self, digits_run, tmp_path):
        done = export(Request(digits_run, precision="fp16", out=tmp_path / "model.onnx"))
        assert 0 < done.proof.difference < 0.01
        assert Classifier.load(done.path).precision == "fp16"

    def test_pt2_runs_without_our_package_and_holds_no_path(self, digits_run, tmp_path):
        done = export(Request(digits_run, "pt2", out=tmp_path / "model.pt2"))
        assert done.proof.difference < 1e-5
        data = done.path.read_bytes()
        assert b"site-packages" not in data
        assert str(tmp_path).encode() not in data
        code = f"import torch; m = torch.export.load({str(done.path)!r}).module()\n"
        code += "print(m(torch.zeros(3, 50, 20, 3, dtype=torch.uint8)).shape)\n"
        code += "import sys; assert 'ignite_vision' not in sys.modules"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
        assert "torch.Size([3, 10])" in ran.stdout, ran.stderr

    def test_a_recipes_own_network_is_exported_from_its_run(self, tmp_path):
        recipe = tmp_path / "mine.py"
        recipe.write_text(
            "from torch import nn\nfrom ignite_vision import Recipe, datasets\n\n\n"
            "def net(n):\n    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(288, n))\n\n\n"
            "recipe = Recipe(data=datasets.digits, model=net, epochs=1)\n"
        )
        from tests.promises.test_docs import trained

        _, run = trained(recipe, tmp_path)
        done = export(Request(run))
        assert done.proof.of == "test images"
        image = torch.zeros(3, 8, 8, dtype=torch.uint8)
        (found,) = Classifier.load(done.path).predict([image])
        source = open_source(run, None)
        (wanted,) = source.classifier.predict([image])
        assert found.probabilities == pytest.approx(wanted.probabilities, abs=1e-5)

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_a_kill_leaves_no_file_of_its_name_and_a_signal_no_file_at_all(self, model, number):
        command = [sys.executable, "-m", "ignite_vision", "export", str(model), "--format", "pt2"]
        hidden = model.with_name(".model.pt2.export.tmp")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while not hidden.exists() and process.poll() is None:  # written when all but the proof is done
                time.sleep(0.001)
            process.send_signal(number)
        assert not model.with_name("model.pt2").exists()
        assert hidden.exists() == (number == signal.SIGKILL)
