"""TODO."""

import torch

from ignite_vision.system import process

CPU = torch.device("cpu")


def test_keeping_freed_memory_changes_no_result():
    layer, images = torch.nn.Conv2d(3, 8, 3), torch.rand(4, 3, 64, 64)
    before = layer(images)
    process.keep_freed_memory()
    assert layer(images).equal(before)


def test_numbers_that_are_almost_nothing_count_as_nothing_in_every_thread():
    # conftest.py has called tune_processor before the first thread began
    assert not (torch.full((1_000_000,), 1e-38) * 0.1).any()
