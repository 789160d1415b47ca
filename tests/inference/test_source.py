"""What is exported, and which images it is compared on."""

import shutil

import pytest

from ignite_vision.errors import UserError
from ignite_vision.inference.source import ALONE, open_source, spread
from ignite_vision.testing import digits


def test_a_run_brings_its_own_images(digits_run):
    source = open_source(digits_run, None)
    assert source.classifier.precision == "fp32"
    assert source.file == digits_run / "model.safetensors"
    assert len(source.images("test", 7)) == 7
    assert source.why_not == ""


def test_a_model_file_alone_has_no_images(digits_run, tmp_path):
    shutil.copy(digits_run / "model.safetensors", tmp_path)
    source = open_source(tmp_path / "model.safetensors", None)
    assert source.images("test", 7) is None
    assert source.why_not == ALONE


def test_what_is_exported_is_not_exported_again(tmp_path):
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UserError, match="this is exported already"):
        open_source(tmp_path / "model.onnx", None)


def test_data_of_a_model_file_alone_are_refused(digits_run, tmp_path):
    with pytest.raises(UserError, match="--data needs the run directory"):
        open_source(digits_run / "model.safetensors", tmp_path)


def test_a_run_whose_recipe_is_gone_is_exported_without_images(digits_run, tmp_path):
    shutil.copytree(digits_run, tmp_path / "run")
    text = (tmp_path / "run" / "run.json").read_text().replace('"spec": "digits"', '"spec": "gone.py"')
    (tmp_path / "run" / "run.json").write_text(text)
    (tmp_path / "run" / "recipe.py").unlink()
    source = open_source(tmp_path / "run", None)
    assert source.splits is None
    assert "its recipe cannot be read" in source.why_not


def test_images_that_changed_are_not_used_and_refused_if_they_were_given(digits_run, tmp_path):
    shutil.copytree(digits_run, tmp_path / "run")
    lines = (tmp_path / "run" / "splits.csv").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "splits.csv").write_text("".join(lines[:-1]))
    assert "changed" in open_source(tmp_path / "run", None).why_not
    with pytest.raises(UserError, match="changed since the run began"):
        open_source(tmp_path / "run", tmp_path)


def test_images_are_spread_evenly():
    images = digits().train
    assert len(spread(images, 10**6)) == len(images)
    found = spread(images, 4).index.tolist()
    assert found == [images.index[i * len(images) // 4] for i in range(4)]
