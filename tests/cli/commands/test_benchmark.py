"""`benchmark` on the command line."""

import json

import pytest
from click.testing import CliRunner

from ignite_vision.cli import command_line
from ignite_vision.cli.commands.benchmark import sizes_of
from ignite_vision.errors import UserError


@pytest.fixture
def quick(monkeypatch):
    """Each row takes as few calls as there can be."""
    from ignite_vision.inference import speed

    measure = speed.speed
    monkeypatch.setattr(speed, "speed", lambda classifier, batch: measure(classifier, batch, seconds=0))


def test_a_row_for_each_model_and_batch_size(digits_run, digits_onnx, quick):
    done = CliRunner().invoke(command_line(), ["benchmark", str(digits_run), str(digits_onnx), "--batch-sizes", "1,3"])
    assert done.exit_code == 0, done.output
    head, *rows = done.output.splitlines()
    assert head.split() == ["model", "by", "precision", "batch", "ms", "95", "%", "ms", "images/s"]
    assert [(row.split()[1], row.split()[3]) for row in rows] == [
        ("torch", "1"),
        ("torch", "3"),
        ("onnx", "1"),
        ("onnx", "3"),
    ]


def test_json_has_a_line_for_each(digits_onnx, quick):
    done = CliRunner().invoke(command_line(), ["benchmark", str(digits_onnx), "--batch-sizes", "2", "--json"])
    (row,) = map(json.loads, done.output.splitlines())
    assert (row["model"], row["runtime"], row["precision"], row["batch"]) == (str(digits_onnx), "onnx", "fp32", 2)
    assert row["images_per_second"] == pytest.approx(2e3 / row["milliseconds"])


@pytest.mark.parametrize("text", ["", "0", "1,", "a", "-1", "1025", "٣", "1.5", "0000010240000"])
def test_what_is_no_batch_size_is_refused(text):
    with pytest.raises(UserError, match="--batch-sizes are numbers with commas"):
        sizes_of(text)


def test_batch_sizes_may_have_spaces():
    assert sizes_of("1, 16") == [1, 16]
