"""The head is found and parted, frozen is frozen, and what training changes is known."""

import pytest
import torch
from torch import nn

from ignite_vision import models
from ignite_vision.errors import UserError
from ignite_vision.models.head import (
    count_parameters,
    find_head,
    freeze,
    keep_frozen,
    not_linear,
    split_at_head,
    state_that_changes,
)


def test_a_model_without_a_linear_or_convolution_has_no_head():
    with pytest.raises(UserError, match="could be its head"):
        find_head(nn.Sequential(nn.ReLU()))


def test_257_classes_are_257():
    assert find_head(models.build("resnet18", 257))[1].out_features == 257


def train_a_little(network, frozen, images):
    """Take three steps as Ignite's do: model.train() in each."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, 0.1)
    for _ in range(3):
        network.train()
        keep_frozen(frozen)
        optimizer.zero_grad()
        network(images).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_a_frozen_backbone_keeps_every_parameter_and_buffer_to_the_bit(name):
    network = models.build(name, 3)
    frozen = freeze(network, "head")
    head = find_head(network)[0]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    train_a_little(network, frozen, torch.rand(4, 3, 32, 32))
    changed = {key for key, value in network.state_dict().items() if not value.equal(before[key])}
    assert changed == {f"{head}.weight", f"{head}.bias"}


def test_a_prefix_frees_its_child_and_all_after_it():
    network = models.build("resnet18", 3)
    frozen = freeze(network, "layer4")
    trainable = {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert trainable == {"layer4", "fc"}
    network.train()
    keep_frozen(frozen)
    assert network.layer4[0].bn1.training
    assert not network.layer3[0].bn1.training


def test_the_dropout_before_the_head_stays_live():
    network = models.build("mobilenet_v2", 3)
    frozen = freeze(network, "head")
    network.train()
    keep_frozen(frozen)
    assert network.classifier[0].training
    assert not network.features[1].conv[0][1].training


def test_a_dropout_at_the_end_of_a_frozen_block_is_off():
    block = nn.TransformerEncoderLayer(8, 2, batch_first=True)  # its last two modules are Dropouts
    network = nn.Sequential(block, nn.Linear(8, 3))
    frozen = freeze(network, "head")
    network.train()
    keep_frozen(frozen)
    assert not any(module.training for module in block.modules())


def test_a_model_that_is_nothing_but_its_head_freezes_nothing():
    network = nn.Linear(4, 3)
    assert freeze(network, "head") == []
    assert count_parameters(network) == (15, 0)


def test_stochastic_depth_of_a_frozen_part_is_off():
    network = models.build("efficientnet_b0", 3)
    frozen = freeze(network, "head")
    network.train()
    keep_frozen(frozen)
    assert not any(m.training for m in network.modules() if type(m).__name__ == "StochasticDepth")


def test_an_unknown_part_suggests_the_nearest():
    with pytest.raises(UserError, match="no part 'layr4' in the model to train. Did you mean 'layer4'?"):
        freeze(models.build("resnet18", 3), "layr4")


def test_all_freezes_nothing():
    network = models.build("resnet18", 3)
    assert freeze(network, "all") == []
    assert count_parameters(network)[1] == 0


def test_what_changes_is_what_trains_and_the_buffers_that_move():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.Linear(2, 3))
    assert state_that_changes(network, freeze(network, "all")).keys() == network.state_dict().keys()
    frozen = freeze(network, "2")
    changing = {"2.weight", "2.bias", "2.running_mean", "2.running_var", "2.num_batches_tracked"}
    assert state_that_changes(network, frozen).keys() == changing | {"3.weight", "3.bias"}


def test_a_frozen_layer_under_two_names_does_not_change_under_either():
    shared = nn.Linear(2, 2)
    network = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(2, 3))
    assert state_that_changes(network, freeze(network, "head")).keys() == {"3.weight", "3.bias"}


def test_the_part_from_the_head_on_is_the_models_own():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Dropout(0.5), nn.Conv2d(2, 3, 1), nn.AdaptiveAvgPool2d(1))
    first, part = split_at_head(network)
    assert first is network[1]
    assert list(part)[:3] == [network[1], network[2], network[3]]


def test_a_linear_layer_alone_is_told_from_other_heads():
    body = nn.Flatten()
    assert not_linear(nn.Sequential(body, nn.Linear(4, 2))) is None
    assert not_linear(nn.Sequential(body, nn.Dropout(), nn.Linear(4, 2))) is None
    assert not_linear(nn.Sequential(body, nn.Linear(4, 2, bias=False))) == "the head has no bias"
    assert not_linear(nn.Sequential(body, nn.Linear(4, 2), nn.ReLU())) == "a ReLU follows the head"
    assert "the head is a Conv2d" in not_linear(nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1)))
