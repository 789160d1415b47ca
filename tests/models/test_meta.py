"""Networks without memory, and what they would answer."""

import pytest
import torch
from torch import nn

from ignite_vision import models
from ignite_vision.models.meta import WithoutMemory, answer_shape, without_memory


def test_layers_have_no_memory_and_draw_no_number():
    before = torch.get_rng_state()
    with WithoutMemory():
        layer = nn.Linear(1 << 20, 1 << 20)  # 4 TB
    assert layer.weight.is_meta
    assert torch.get_rng_state().equal(before)


def test_tables_that_decide_what_is_built_keep_their_values():
    with WithoutMemory():
        assert torch.arange(3).tolist() == [0, 1, 2]
        assert torch.zeros(2, device="cpu").tolist() == [0, 0]
        network = models.build("regnet_y_400mf", 3)
    assert network.state_dict().keys() == models.build("regnet_y_400mf", 3).state_dict().keys()


def test_a_network_that_mixes_tables_with_what_has_no_values_has_no_memory_either():
    network = without_memory(lambda: nn.Sequential(nn.Linear(3, 3), Mixed()))
    assert all(tensor.is_meta for tensor in network.state_dict().values())


class Mixed(nn.Module):
    """A table times a drawn number, as timm's mixed rotary embeddings have it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mixed", torch.arange(3) * torch.rand(3))


def test_the_answer_has_its_shape_before_it_has_numbers():
    network = models.build("digits_cnn", 5)
    assert answer_shape(network, 1, 8) == (2, 5)
    for channels, size in ((3, 8), (1, 16)):
        with pytest.raises(RuntimeError):
            answer_shape(network, channels, size)
