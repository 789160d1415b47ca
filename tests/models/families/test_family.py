"""A family is one file: what stands in a folder outside is found, built, described, read and loaded again."""

import pytest
import torch
from torch import nn

from ignite_vision import models
from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.errors import UserError
from ignite_vision.models import families
from ignite_vision.models.families import find
from ignite_vision.models.model_file import load_model, read_header, write_model

OUTSIDE = """
import torch
from torch import nn

from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.models.families.family import Family, InputSpec


def build(name, num_classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5), nn.BatchNorm1d(5), nn.Linear(5, num_classes))


FAMILY = Family(
    prefix="outside",
    names=lambda: ["outside_net", "resnet18"],
    build=build,
    demands=lambda name, weights: InputSpec(3, 4, 4),
    preprocessing=lambda name, weights: Preprocessing(channels=3, resize=5, crop=4, mean=(0, 0, 0), std=(1, 1, 1)),
    read_weights=lambda name, weights: {**build(name, 9, None).state_dict(), "1.bias": torch.full((5,), 7.0)},
    weights_identity=lambda name, weights: f"{name}-{weights}-0123abcd",
    source=lambda name, weights: f"{name} of us, {weights}",
    licence=lambda name, weights: "MIT",
)
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Add a folder with a family to where families are looked for."""
    (tmp_path / "families").mkdir()
    (tmp_path / "families" / "outside.py").write_text(OUTSIDE)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path / "families")])
    families.all_families.cache_clear()
    yield
    families.all_families.cache_clear()


def test_ours_come_first_then_torchvisions_then_others(outside):
    first = ["ignite_vision", "torchvision", "outside"]
    assert [family.prefix for family in families.all_families()] == [*first, "timm", "towers"]
    assert "outside_net" in models.names() and "outside:outside_net" not in models.names()
    assert models.architecture("resnet18") == "torchvision:resnet18"
    assert len(models.names()) == len(set(models.names()))


def test_a_model_of_a_family_from_outside_is_built_with_its_weights(outside):
    network = models.build("outside_net", 3, "v1")
    assert network[1].bias.equal(torch.full((5,), 7.0))
    assert network[3].out_features == 3


def test_a_model_of_a_family_from_outside_is_described(outside):
    assert models.architecture("outside_net") == "outside:outside_net"
    assert models.input_of("outside_net") == models.InputSpec(3, 4, 4)
    assert models.weights_preprocessing("outside_net", "v1").resize == 5
    assert models.weights_content("outside_net", "v1") == "outside_net-v1-0123abcd"
    assert models.origin_of("outside_net", "v1") == {"source": "outside_net of us, v1", "license": "MIT"}


def test_the_prefix_names_a_model_that_another_family_has_as_well(outside):
    assert models.build("outside:resnet18", 3)[3].out_features == 3
    assert models.architecture("torchvision:resnet50") == models.architecture("resnet50")
    assert find("outside:resnet18")[1] == "resnet18"


def test_a_near_miss_after_a_prefix_is_that_familys(outside):
    with pytest.raises(UserError, match="no model 'torchvision:resnet51'. Did you mean 'torchvision:resnet50'"):
        find("torchvision:resnet51")


def test_a_model_file_of_a_family_from_outside_is_read(outside, tmp_path):
    network, path = models.build("outside_net", 2).eval(), tmp_path / "model.safetensors"
    seen = Preprocessing(channels=3, resize=5, crop=4, mean=(0, 0, 0), std=(1, 1, 1))
    header = {
        "task": "single-label",
        "architecture": models.architecture("outside_net"),
        "num_classes": 2,
        "classes": ["a", "b"],
        "preprocessing": seen.to_dict(),
        "precision": "fp32",
        "temperature": 1.0,
    }
    write_model(path, network.state_dict(), header)
    images = torch.rand(2, 3, 4, 4)
    assert load_model(path, read_header(path))(images).equal(network(images))


def test_a_family_says_nothing_of_weights_that_it_does_not_publish():
    family = models.Family("bare", lambda: ["net"], lambda name, classes, size: nn.Linear(2, classes), None)
    assert family.has("net") and not family.has("other")
    assert family.fit("net", {}, None) == {}
    assert family.preprocessing("net", "w") is None
    assert family.licence("net", "w") is None
    assert family.notes("net", "w") == ()
    assert family.parameters("net") is None
    for ask in (family.read_weights, family.weights_identity, family.source):
        with pytest.raises(UserError, match="net has no published weights 'w'"):
            ask("net", "w")
