"""Our own networks as a family."""

import pytest

from ignite_vision import models
from ignite_vision.errors import UserError
from ignite_vision.models.families import find
from ignite_vision.models.small import SMALL


def test_names_of_weights_are_for_torchvisions_models_only():
    with pytest.raises(UserError, match="cifar10_cnn has no published weights 'DEFAULT'"):
        models.build("cifar10_cnn", 7, "DEFAULT")


@pytest.mark.parametrize("name", SMALL)
def test_a_network_wants_exactly_the_images_that_it_is_made_for(name):
    small = SMALL[name]
    assert models.input_of(name) == models.InputSpec(small.channels, small.size, small.size)
    assert models.weights_preprocessing(name, "w.pth") is None
    assert find(name)[0].licence(name, "w.pth") is None
