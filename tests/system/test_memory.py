"""Free memory, asked of the real machine."""

import torch

from ignite_vision.system import memory

CPU = torch.device("cpu")


def test_free_memory_is_less_than_there_is():
    assert 0 < memory.free_memory(CPU) < 1 << 50


def test_where_there_is_no_shared_memory_it_limits_nothing(monkeypatch, tmp_path):
    assert memory.free_shared_memory() < 1 << 62 or not memory.SHARED_MEMORY.is_dir()
    monkeypatch.setattr(memory, "SHARED_MEMORY", tmp_path / "gone")
    assert memory.free_shared_memory() == 1 << 62
