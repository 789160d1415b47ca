"""`export` on the command line."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ignite_vision.cli import command_line
from ignite_vision.cli.commands.export import FIVE_LINES, report
from ignite_vision.inference.export import Exported, Request, export
from ignite_vision.inference.proof import Proof
from tests.helpers.command_line import assert_one_error_line, command


def test_the_table_says_what_was_written_and_how_it_was_proven(tmp_path):
    proof = Proof("test images", 141, 1.8e-6, 0, 0, 0, 0.9645, 0.9645, 11.1, 18.0, 9_100_000)
    lines = report(Exported(tmp_path / "model.onnx", "fp32", proof))
    assert lines[0].endswith("model.onnx · fp32 · 9.1 MB")
    assert "141 test images: probabilities differ by 1.8e-06 at most, 0 decisions changed" in lines[1]
    assert "0.9645, of the model in fp32 0.9645" in lines[2]


def test_a_copy_has_no_numbers(tmp_path):
    assert "the same bytes" in report(Exported(tmp_path / "a.safetensors", "fp32", None))[1]


def test_what_is_no_model_is_one_line(tmp_path):
    (tmp_path / "model.safetensors").write_text("no model")
    done = command("export", tmp_path / "model.safetensors")
    assert_one_error_line((done.returncode, done.stdout, done.stderr), "cannot read the model", code=3)


def test_the_lines_that_are_printed_run_as_they_are(digits_onnx, tmp_path, monkeypatch, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(FIVE_LINES.format(file=str(digits_onnx)), {})
    label, sure = capsys.readouterr().out.split()
    assert label in "0123456789"
    assert 0.1 <= float(sure) <= 1


@pytest.mark.slow
def test_the_whole_command(digits_run, tmp_path):
    arguments = ["export", str(digits_run), "--out", str(tmp_path / "model.onnx")]
    done = CliRunner().invoke(command_line(), arguments)
    assert done.exit_code == 0, done.output
    assert "256 test images: probabilities differ by" in done.output
    assert "ort.InferenceSession" in done.output
    assert (tmp_path / "model.onnx").is_file()
    with pytest.raises(Exception, match="the file is there already"):
        export(Request(digits_run, out=tmp_path / "model.onnx"))
