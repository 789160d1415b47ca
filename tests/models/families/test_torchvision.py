"""torchvision's classifiers: every name builds and has its head replaced, published weights fit or are refused."""

from pathlib import Path

import pytest
import torch
from torchvision import models as zoo

from ignite_vision import models
from ignite_vision.data.images import read_image
from ignite_vision.data.preprocessing import canvas, normalize
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.models.families.torchvision import FAMILY
from ignite_vision.models.head import find_head, freeze, not_linear
from ignite_vision.models.licences import concern
from ignite_vision.models.meta import WithoutMemory
from ignite_vision.models.weights import read_state_dict

NAMES = zoo.list_models(module=zoo)
# A few that cover every kind of head; the others are slow to build, even without memory.
QUICK = {"alexnet", "resnet18", "squeezenet1_1", "vgg11", "googlenet", "mnasnet0_5", "vit_b_32", "shufflenet_v2_x0_5"}


@pytest.fixture
def on_meta():
    """Build without memory."""
    with WithoutMemory():
        yield


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES])
def test_every_classifier_of_torchvision_has_a_head_of_seven_at_its_smallest_size(name, on_meta):
    network = models.build(name, 7)
    spec = models.input_of(name)
    network.to("meta")
    images = torch.empty(2, spec.channels, spec.minimum, spec.minimum)
    assert network.train()(images).shape == (2, 7)
    assert network.eval()(images).shape == (2, 7)
    head = find_head(network)[1]
    assert 7 in head.weight.shape[:1]
    freeze(network, "head")
    trained = {id(p) for p in network.parameters() if p.requires_grad}
    assert trained == {id(p) for p in head.parameters()}


def test_squeezenets_head_is_linear_in_the_mean_of_its_map_and_takes_torchvisions_weights(tmp_path):
    theirs = zoo.squeezenet1_1()
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    network = models.build("squeezenet1_1", 7, str(tmp_path / "w.pth")).eval()
    assert not_linear(network) is None
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        mean = theirs.features(images).mean((2, 3))
        torch.testing.assert_close(network(images), find_head(network)[1](mean))
    trained = FAMILY.as_trained("squeezenet1_1", 7, None)
    assert [str(layer) for layer in trained.modules()][1:] == [
        str(layer) for layer in zoo.squeezenet1_1(num_classes=7).modules()
    ][1:]


def test_weights_bring_their_own():
    assert models.weights_preprocessing("resnet50", "DEFAULT").resize == 232
    assert models.weights_preprocessing("densenet121", "DEFAULT").resize == 256
    assert models.weights_preprocessing("efficientnet_b0", "DEFAULT").interpolation == "bicubic"


def test_a_file_is_recognised_by_its_published_name():
    assert models.weights_preprocessing("resnet50", "/x/resnet50-11ad3fa6.pth").resize == 232
    assert models.weights_preprocessing("resnet50", "/x/my.pth").resize == 256


def test_a_vit_is_built_for_the_size_of_its_weights(on_meta):
    assert models.input_of("vit_b_16", "IMAGENET1K_SWAG_E2E_V1").size == 384
    assert models.build("vit_b_16", 7, "IMAGENET1K_SWAG_E2E_V1", load=False).image_size == 384


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_network_built_again_from_its_own_weights_is_the_same_function(name, on_meta):
    """What the weights' name decides is not in the state dict, and would be lost."""
    with_weights, without = models.build(name, 7, "DEFAULT", load=False), models.build(name, 7)
    assert with_weights.transform_input == without.transform_input


def test_a_damaged_file_of_an_earlier_download_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"<html>")
    with pytest.raises(UserError, match="resnet18-f37072fd.pth.*Remove it") as failure:
        models.build("resnet18", 7, "DEFAULT")
    assert failure.value.code == DAMAGED


def test_an_unknown_weights_name_suggests_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'IMAGENET1K_V1'?"):
        models.build("resnet18", 7, "IMAGENET_V1")


def test_weights_that_cannot_be_downloaded_say_what_to_fetch_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(UserError) as failure:
        models.build("resnet18", 7, "DEFAULT")
    for part in ("https://download.pytorch.org/models/resnet18", "45 MB", str(tmp_path), "--set weights=PATH"):
        assert part in str(failure.value)


def test_a_licence_is_known_where_torchvision_states_one():
    licence = FAMILY.licence
    assert "SWAG" in licence("vit_b_16", "IMAGENET1K_SWAG_E2E_V1")
    assert "SWAG" in licence("vit_b_16", "/x/vit_b_16_swag-9ac1b537.pth")
    assert licence("resnet18", "DEFAULT") is None


@pytest.mark.parametrize("name", ["vit_h_14", "regnet_y_128gf"])
def test_a_default_that_is_not_for_commercial_use_is_not_silent(name):
    assert "not for commercial use" in concern(FAMILY.licence(name, "DEFAULT"))


def test_the_source_says_which_weights_the_default_is():
    assert FAMILY.source("resnet50", "DEFAULT") == "torchvision:resnet50 IMAGENET1K_V2"


def test_parameters_are_known_without_building():
    assert FAMILY.parameters("resnet18") == 11_689_512


# ImageNet's index of the synsets in the test data, from its published list.
SYNSETS = {
    "n01440764": 0,
    "n02086240": 155,
    "n02087394": 159,
    "n02088364": 162,
    "n02089973": 167,
    "n02093754": 182,
    "n02096294": 193,
    "n02099601": 207,
    "n02102040": 217,
    "n02105641": 229,
    "n02111889": 258,
    "n02115641": 273,
    "n02979186": 482,
    "n03000684": 491,
    "n03028079": 497,
    "n03394916": 566,
    "n03417042": 569,
    "n03425413": 571,
    "n03445777": 574,
    "n03888257": 701,
}


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize(("name", "accuracy"), [("mobilenet_v2", 0.63), ("squeezenet1_0", 0.56)])
def test_given_weights_and_our_preprocessing_reach_their_accuracy_on_imagenet(test_data, name, accuracy):
    """A wrong normalisation, crop or colour order costs several points."""
    weights = str(test_data / "weights" / f"{name}.pth")
    network = zoo.get_model(name, weights=None)
    network.load_state_dict(read_state_dict(Path(weights)))
    network.eval()
    preprocessing = models.weights_preprocessing(name, weights)
    right = total = 0
    for synset, index in SYNSETS.items():
        files = sorted((test_data / "imagenet_val_20x50" / synset).iterdir())
        squares = torch.stack([canvas(read_image(f), preprocessing, preprocessing.crop) for f in files])
        with torch.inference_mode():
            right += (network(normalize(squares, preprocessing)).argmax(1) == index).sum().item()
        total += len(files)
    assert total == 1000
    assert right / total == pytest.approx(accuracy, abs=0.02)


def test_a_vit_without_weights_is_built_for_any_size_that_its_patches_fill(on_meta):
    assert models.input_of("vit_b_16", None).resizable
    assert not models.input_of("vit_b_16", "DEFAULT").resizable
    assert models.build("vit_b_16", 7, image_size=384).image_size == 384
