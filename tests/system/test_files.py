"""TODO."""

import torch

from ignite_vision.system import files

CPU = torch.device("cpu")


def test_folders_come_from_the_environment(monkeypatch, tmp_path):
    for variable, home in (
        ("IGNITE_VISION_RUNS", files.runs_home),
        ("IGNITE_VISION_DATA", files.data_home),
    ):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        assert home() == tmp_path / variable
    monkeypatch.delenv("IGNITE_VISION_RUNS")
    assert str(files.runs_home()) == "runs"
