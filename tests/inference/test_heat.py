"""Where a classifier looked, scaled for the eye."""

import pytest
import torch
from torch import nn

from ignite_vision import Classifier, models
from ignite_vision.inference.heat import heat_layer, heat_maps
from tests.helpers.classifiers import header_of


def classifier(network, precision="fp32", **header):
    return Classifier(network, header_of(**header), precision, torch.device("cpu"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("name", "channels", "side"), [("cifar10_cnn", 3, 32), ("digits_cnn", 1, 8)])
def test_a_map_reaches_from_nothing_to_one(name, channels, side, precision):
    torch.manual_seed(0)
    ours = classifier(models.build(name, 3), precision, channels=channels, side=side)
    canvases = torch.randint(0, 256, (4, channels, side, side), dtype=torch.uint8)
    found = [heat for heat in heat_maps(ours, canvases, [0, 1, 2, 0], heat_layer(ours)) if heat is not None]
    assert found
    assert all(heat.dtype == torch.float32 and heat.shape == found[0].shape for heat in found)
    assert all(heat.max() == 1 and heat.min() >= 0 for heat in found)


def test_where_nothing_speaks_for_the_class_there_is_none():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    with torch.no_grad():
        network[0].weight.fill_(1)
        network[3].weight.fill_(-1)
    ours = classifier(network, channels=1, side=8)
    assert heat_maps(ours, torch.full((1, 1, 8, 8), 250, dtype=torch.uint8), [1], "1") == [None]


def test_a_network_without_a_map_has_no_layer():
    assert heat_layer(classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), channels=1, side=8)) is None
