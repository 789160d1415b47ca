"""The machine under a run: asked, never guessed."""

import pytest
import torch

from ignite_vision import environment
from ignite_vision.errors import UserError

CPU = torch.device("cpu")


def test_auto_is_a_device_that_is_there():
    assert environment.pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:63", "meta", "mps"])
def test_a_device_that_is_not_there_is_refused_with_a_way_out(name):
    with pytest.raises(UserError, match="cpu"):
        environment.pick_device(name)


def test_auto_is_bf16_exactly_where_the_processor_has_it():
    assert environment.pick_precision("auto", CPU) == ("bf16" if environment.has_bf16(CPU) else "fp32")
    assert environment.pick_precision("fp32", CPU) == "fp32"


def test_the_record_names_all_that_decides_the_last_bits():
    record = environment.record(CPU, "fp32")
    assert set(record) == {
        "versions",
        "device",
        "processor",
        "cpu_capability",
        "threads",
        "processes",
        "precision",
        "deterministic",
    }
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]


def test_free_memory_is_less_than_there_is():
    assert 0 < environment.free_memory(CPU) < 1 << 50


def test_keeping_freed_memory_changes_no_result():
    layer, images = torch.nn.Conv2d(3, 8, 3), torch.rand(4, 3, 64, 64)
    before = layer(images)
    environment.keep_freed_memory()
    assert layer(images).equal(before)


def test_folders_come_from_the_environment(monkeypatch, tmp_path):
    for variable, home in (
        ("IGNITE_VISION_RUNS", environment.runs_home),
        ("IGNITE_VISION_DATA", environment.data_home),
    ):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        assert home() == tmp_path / variable
    monkeypatch.delenv("IGNITE_VISION_RUNS")
    assert str(environment.runs_home()) == "runs"


def test_doctor_says_when_shared_memory_is_little(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "SHARED_MEMORY", tmp_path / "gone")
    assert dict(environment.doctor())["shared memory"] == "none: use --workers 0"
