"""TODO."""

import torch

from ignite_vision.system import environment

CPU = torch.device("cpu")


def test_doctor_says_when_shared_memory_is_little(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "SHARED_MEMORY", tmp_path / "gone")
    assert dict(environment.doctor())["shared memory"] == "none: use --workers 0"
