"""Our own small networks."""

import pytest
import torch

from ignite_vision.models.small import SMALL


@pytest.mark.parametrize("name", SMALL)
def test_a_network_answers_images_of_the_channels_and_size_that_it_states(name):
    small = SMALL[name]
    assert small.build(5)(torch.zeros(2, small.channels, small.size, small.size)).shape == (2, 5)
