"""The state of a network: tensors and the rest, its hash, and what must be finite in it."""

import pytest
import torch
from torch import nn

from ignite_vision import models
from ignite_vision.errors import UserError
from ignite_vision.models.state import all_finite, plain_extra, tensors_and_extra, versioned, weights_hash


class Counting(nn.Module):
    """A layer with state beside its tensors."""

    def __init__(self, extra):
        super().__init__()
        self.weight, self.extra = nn.Parameter(torch.ones(2)), extra

    def get_extra_state(self):
        return self.extra

    def set_extra_state(self, state):
        self.extra = state


def test_tensors_are_separated_from_extra_state():
    network = nn.Sequential(Counting({"calls": 3}), Counting(torch.ones(1)))
    tensors, extra = tensors_and_extra(network.state_dict())
    assert tensors.keys() == {"0.weight", "1.weight", "1._extra_state"}
    assert extra == {"0._extra_state": {"calls": 3}}
    other = nn.Sequential(Counting(None), Counting(None))
    other.load_state_dict(versioned(other, {**tensors, **extra}))
    assert other[0].extra == {"calls": 3}
    assert other[1].extra.equal(torch.ones(1))


@pytest.mark.parametrize("odd", [object(), {1: 2}, (1, 2), float("nan"), [torch.ones(1)], {"a": b"bytes"}])
def test_extra_state_that_json_would_change_is_refused_with_the_way_out(odd):
    with pytest.raises(UserError, match="_extra_state is not plain data. Let get_extra_state return"):
        plain_extra(Counting(odd).state_dict())


def test_plain_extra_state_is_kept():
    assert plain_extra(Counting({"calls": [1, 2.5, "x", None]}).state_dict()) == {
        "_extra_state": {"calls": [1, 2.5, "x", None]}
    }
    assert plain_extra(nn.Linear(2, 2).state_dict()) == {}


def test_a_network_that_wants_the_version_of_its_layout_takes_plain_tensors():
    network = models.build("mnasnet0_5", 3)
    plain = dict(network.state_dict())
    with pytest.raises(ValueError, match="version"):
        network.load_state_dict(plain)
    network.load_state_dict(versioned(network, plain))


def test_the_hash_changes_with_a_name_a_type_a_shape_or_a_bit():
    state = {"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.int32)}
    others = [
        {"a": torch.zeros(2, 3), "c": torch.zeros(4, dtype=torch.int32)},
        {"a": torch.zeros(2, 3), "b": torch.zeros(4)},
        {"a": torch.zeros(3, 2), "b": torch.zeros(4, dtype=torch.int32)},
        {"a": torch.tensor([[0.0, 0, 0], [0, 0, -0.0]]), "b": torch.zeros(4, dtype=torch.int32)},
        {"a": torch.zeros(2, 3)},
    ]
    assert len({weights_hash(one) for one in [state, *others]}) == 6


def test_the_hash_does_not_change_with_order_memory_format_or_anything_but_tensors():
    images = torch.rand(2, 3, 4, 5)
    state = {"a": images, "b": torch.tensor(3), "c": torch.zeros(0), "d": torch.zeros(2, dtype=torch.bfloat16)}
    other = {**dict(reversed(state.items())), "a": images.to(memory_format=torch.channels_last), "_extra_state": 7}
    assert weights_hash(state) == weights_hash(other)


def test_the_hash_is_the_same_in_every_release():
    """It stands in finished runs: another would call them damaged."""
    state = {"w": torch.arange(6, dtype=torch.float32).reshape(2, 3)}
    assert weights_hash(state) == "4f818c8741969daf902c0bfa7c868710862824e9572f92d7c922bbb42b8973a4"


def test_a_mask_of_minus_infinity_is_finite_enough():
    network = nn.Linear(2, 2)
    network.register_buffer("mask", torch.full((2,), float("-inf")))
    assert all_finite(network)


@pytest.mark.parametrize("name", ["0.weight", "1.running_mean", "1.running_var"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_parameter_or_a_statistic_of_batchnorm_must_be_finite(name, value):
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    network.state_dict()[name].fill_(value)
    assert not all_finite(network)
