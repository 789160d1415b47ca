"""TODO."""

import torch

from ignite_vision.system import memory

CPU = torch.device("cpu")


def test_free_memory_is_less_than_there_is():
    assert 0 < memory.free_memory(CPU) < 1 << 50
