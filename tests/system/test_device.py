"""Devices and precisions, asked of the real machine."""

import pytest
import torch

from ignite_vision.errors import UserError
from ignite_vision.system import device

CPU = torch.device("cpu")


def test_auto_is_a_device_that_is_there():
    assert device.pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:63", "meta", "mps"])
def test_a_device_that_is_not_there_is_refused_with_a_way_out(name):
    with pytest.raises(UserError, match="cpu"):
        device.pick_device(name)


def test_auto_is_bf16_exactly_where_the_processor_has_it():
    assert device.pick_precision("auto", CPU) == ("bf16" if device.has_bf16(CPU) else "fp32")
    assert device.pick_precision("fp32", CPU) == "fp32"


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_forward_pass_computes_in_its_precision(precision, dtype):
    layer = torch.nn.Linear(4, 2)
    with device.autocast(CPU, precision):
        assert layer(torch.ones(1, 4)).dtype == dtype
    assert layer(torch.ones(1, 4)).dtype == torch.float32
