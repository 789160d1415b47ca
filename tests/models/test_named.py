"""A model by name or function: what is built, what it is called, which weights are meant."""

import functools

import pytest
import torch
from torch import nn

from ignite_vision import models
from ignite_vision.errors import BAD_INPUT, DAMAGED, UserError
from ignite_vision.models.head import find_head
from ignite_vision.models.meta import WithoutMemory
from ignite_vision.models.small import SMALL


def test_a_function_builds_the_model():
    assert models.build(lambda num_classes: nn.Linear(4, num_classes), 3).out_features == 3


def test_a_function_that_builds_no_module_is_refused():
    with pytest.raises(UserError, match="returned int, not an nn.Module"):
        models.build(lambda num_classes: num_classes, 3)


def test_an_unknown_model_suggests_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'densenet121'?"):
        models.build("densenet12", 3)


def test_the_architecture_says_where_the_network_comes_from():
    assert models.architecture("densenet121") == "torchvision:densenet121"
    assert models.architecture("cifar10_cnn") == "ignite_vision:cifar10_cnn"
    function = SMALL["cifar10_cnn"].build
    assert models.architecture(function) == "recipe:ignite_vision.models.small:cifar10_cnn"
    assert models.architecture(functools.partial(function)) == "recipe:ignite_vision.models.small:cifar10_cnn"


def test_a_network_of_a_model_file_is_what_its_architecture_names():
    assert find_head(models.build_architecture("ignite_vision:digits_cnn", 4))[1].out_features == 4
    with WithoutMemory():
        assert models.build_architecture("torchvision:vit_b_32", 4, 96).image_size == 96


def test_the_code_of_a_recipe_is_never_built_from_its_name():
    with pytest.raises(UserError, match="code in a recipe: os:system.*run directory") as failure:
        models.build_architecture("recipe:os:system", 4)
    assert failure.value.code == BAD_INPUT


@pytest.mark.parametrize(
    "name", ["", "resnet18", "torchvision:", "torchvision:digits_cnn", "ignite_vision:resnet18", "timm.x:y", "a:" * 999]
)
def test_an_architecture_that_no_family_lists_is_unknown(name):
    with pytest.raises(UserError, match="unknown architecture '.{0,100}'. This version knows ignite_vision:NAME") as it:
        models.build_architecture(name, 4)
    assert it.value.code == DAMAGED


def small_net(num_classes):
    return nn.Linear(4, num_classes)


def test_a_size_is_for_the_networks_that_are_built_for_one():
    with WithoutMemory():
        assert models.build("vit_b_32", 3, image_size=64).image_size == 64
    assert models.build("digits_cnn", 3, image_size=64)(torch.zeros(1, 1, 8, 8)).shape == (1, 3)
    with pytest.raises(UserError, match="vit_b_32 cannot be built for images of 65 pixels"):
        models.build("vit_b_32", 3, image_size=65)
