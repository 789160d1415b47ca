"""Several networks side by side: named, built, shown their own images, trained by one head, loaded again."""

import pytest
import torch
from torch.nn import functional as F

from ignite_vision import Classifier, models
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.models.families import find, towers
from ignite_vision.models.head import find_head, freeze, split_at_head
from ignite_vision.models.meta import without_memory
from tests.helpers.runs import assert_same_results, interrupted, plan_of, train
from tests.inference.test_classifier import as_printed, printed

BOTH = "squeezenet1_0+timm:resnet10t"


def files(tmp_path, *names):
    """A file of fresh weights for each network, joined."""
    paths = []
    for i, name in enumerate(names):
        paths.append(tmp_path / f"{i}.pth")
        torch.save(models.build(name, 9).state_dict(), paths[-1])
    return "+".join(map(str, paths))


def test_a_sum_is_a_model_and_its_parts_are_found_in_their_families():
    assert find(BOTH)[0].prefix == "towers"
    assert models.architecture(BOTH) == f"towers:{BOTH}"
    assert find(f"towers:{BOTH}")[1] == BOTH
    assert towers.names() == []


@pytest.mark.parametrize("name", ["resnet18+", "+resnet18", "+", "resnet18++resnet18"])
def test_half_a_sum_is_no_model(name):
    with pytest.raises(UserError, match="no model"):
        find(name)


def test_a_part_that_is_no_model_is_named():
    with pytest.raises(UserError, match="no model 'resnet19'. Did you mean"):
        find("resnet18+resnet19")
    with pytest.raises(UserError, match="a model of 9 networks. Use 8 at most"):
        find("+".join(["resnet18"] * 9))


@pytest.mark.parametrize("name", ["recipe:os:system+resnet18", "towers:resnet18+resnet18", "hf_hub:a/b+resnet18"])
def test_a_model_file_names_nothing_but_listed_networks(name):
    with pytest.raises(UserError, match="no model|unknown architecture") as failure:
        models.build_architecture(f"towers:{name}", 3)
    assert failure.value.code in (2, DAMAGED)


def test_features_of_one_length_stand_side_by_side_below_one_head():
    network = models.build(BOTH, 4).eval()
    assert (network.head.in_features, network.head.out_features) == (512 + 512, 4)
    caught = []
    split_at_head(network)[0].register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    with torch.inference_mode():
        network(torch.rand(2, 3, 224, 224))
    for part in caught[0].split(512, dim=1):
        assert part.norm(dim=1).tolist() == pytest.approx([towers.LENGTH] * 2, rel=1e-5)


def test_each_network_sees_its_own_size_and_normalisation(tmp_path):
    weights = files(tmp_path, *BOTH.split("+"))
    network, images = models.build(BOTH, 4, weights).eval(), torch.rand(1, 3, 224, 224)
    used = models.weights_preprocessing("timm:resnet10t", "x.pth")
    assert used.crop < 224
    small = F.interpolate(images, size=(used.crop, used.crop), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (used.mean, used.std))
    alone = models.build("timm:resnet10t", 4, weights.partition("+")[2]).eval()
    alone.fc = torch.nn.Identity()
    with torch.inference_mode():
        expected = F.normalize(alone((small - mean) / std)) * towers.LENGTH
        found = network.towers[1](images)
    assert torch.allclose(found, expected, atol=1e-3)


def test_the_canvas_is_the_largest_networks_and_not_normalised():
    found = models.weights_preprocessing("mobilenet_v2+timm:tf_efficientnet_lite2", "DEFAULT")
    assert (found.crop, found.resize, found.interpolation) == (260, 292, "bicubic")
    assert (found.mean, found.std) == ((0, 0, 0), (1, 1, 1))
    assert models.input_of("mobilenet_v2+timm:tf_efficientnet_lite2", "DEFAULT").size == 260


def test_all_but_the_head_is_frozen():
    network = without_memory(lambda: models.build(BOTH, 4))
    frozen = freeze(network, "head")
    assert [name for name, p in network.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    assert find_head(network)[0] == "head"
    assert all(module in frozen for module in network.towers)


@pytest.mark.parametrize("name", ["digits_cnn", "timm:deit_tiny_distilled_patch16_224"])
def test_a_network_that_cannot_be_a_tower_is_one_line(name):
    with pytest.raises(UserError, match=f"{name} cannot be one of several networks"):
        models.build(f"resnet18+{name}", 3)


def test_weights_are_one_name_for_all_or_one_for_each(tmp_path):
    with pytest.raises(UserError, match="2 networks and 1 file of weights .*joined by a plus"):
        models.build(BOTH, 3, "a.pth")
    with pytest.raises(UserError, match="2 networks and 3 files of weights"):
        models.weights_content(BOTH, "a.pth+b.pth+c.pth")
    with pytest.raises(UserError, match=r"no such weights file \(b.pth\)"):
        models.build(BOTH, 3, f"{files(tmp_path, 'squeezenet1_0')}+b.pth")


def test_weights_in_the_wrong_order_name_the_file(tmp_path):
    weights = files(tmp_path, "timm:resnet10t", "squeezenet1_0")
    with pytest.raises(UserError, match="the weights do not fit the model: .*0.pth"):
        models.build(BOTH, 3, weights)


@pytest.mark.parametrize("trainable", ["all", "towers.1"])
def test_only_the_head_trains(make_run, trainable):
    with pytest.raises(UserError, match="train their head alone, not .*trainable=head"):
        make_run(model=BOTH, trainable=trainable)


@pytest.mark.slow
def test_a_run_keeps_features_resumes_to_the_same_bits_and_is_loaded_from_its_file(make_run, tmp_path):
    weights = files(tmp_path, "squeezenet1_0", "timm:resnet10t")
    fields = {"model": BOTH, "weights": weights, "trainable": "head", "epochs": 2}
    prepared = make_run(**fields)
    train(prepared)
    assert plan_of(prepared) == "features"
    stopped = make_run(out=tmp_path / "stopped", **fields)
    assert interrupted(stopped, at=3) == 75
    resumed = make_run(out=tmp_path / "stopped", **fields)
    train(resumed)
    assert_same_results(prepared, resumed)
    classifier = Classifier.load(prepared.directory)
    assert classifier.header["architecture"] == f"towers:{BOTH}"
    assert classifier.header["weights"] == {"source": "0.pth + 1.pth", "license": None}
    logits = classifier(torch.stack([image for image, _ in prepared.splits.test]))
    assert as_printed(logits, classifier) == printed(prepared)


def test_bars_have_the_grey_of_the_largest_networks_mean():
    assert models.weights_preprocessing("mobilenet_v2+squeezenet1_0", "DEFAULT").grey == 114
