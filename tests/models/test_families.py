"""Models: every name builds and has its head replaced, weights fit or are refused, and frozen is frozen."""

import functools
import os
import pickle
import random
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models as zoo

from ignite_vision import models
from ignite_vision.data.images import read_image
from ignite_vision.data.preprocessing import canvas, normalize
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.models.head import count_parameters, find_head, freeze, keep_frozen
from ignite_vision.models.meta import WithoutMemory
from ignite_vision.models.small import SMALL
from ignite_vision.models.weights import load_backbone, read_state_dict, todays_name

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


@pytest.mark.parametrize("name", SMALL)
def test_our_own_networks_fit_what_they_say_they_want(name):
    spec = models.input_of(name)
    assert models.build(name, 5)(torch.zeros(2, spec.channels, spec.size, spec.size)).shape == (2, 5)


def test_257_classes_are_257():
    assert find_head(models.build("resnet18", 257))[1].out_features == 257


def test_a_function_builds_the_model():
    assert models.build(lambda num_classes: nn.Linear(4, num_classes), 3).out_features == 3


def test_a_function_that_builds_no_module_is_refused():
    with pytest.raises(UserError, match="returned int, not an nn.Module"):
        models.build(lambda num_classes: num_classes, 3)


def test_an_unknown_model_suggests_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'densenet121'?"):
        models.build("densenet12", 3)


def test_a_model_without_a_linear_or_convolution_has_no_head():
    with pytest.raises(UserError, match="could be its head"):
        find_head(nn.Sequential(nn.ReLU()))


class TestWeights:
    def saved(self, tmp_path, change=lambda state: state, name="w.pth"):
        torch.manual_seed(1)
        network = models.build("squeezenet1_1", 1000)
        path = tmp_path / name
        torch.save(change(network.state_dict()), path)
        return network, path

    def test_all_but_the_head_is_loaded(self, tmp_path):
        source, path = self.saved(tmp_path)
        network = models.build("squeezenet1_1", 7, str(path))
        assert network.features[0].weight.equal(source.features[0].weight)
        assert network.classifier[1].weight.shape[0] == 7

    def test_wrappers_that_training_scripts_leave_are_looked_through(self, tmp_path):
        def wrap(state):
            return {"epoch": 3, "state_dict": {f"module.{name}": t for name, t in state.items()}}

        source, path = self.saved(tmp_path, wrap)
        assert models.build("squeezenet1_1", 7, str(path)).features[0].weight.equal(source.features[0].weight)

    def test_what_is_missing_unknown_or_of_another_shape_is_named(self, tmp_path):
        def change(state):
            state["features.0.bias"] = torch.zeros(3)
            state["other"] = torch.zeros(1)
            del state["features.3.squeeze.bias"]
            return state

        _, path = self.saved(tmp_path, change)
        with pytest.raises(UserError) as failure:
            models.build("squeezenet1_1", 7, str(path))
        for part in ("features.3.squeeze.bias is missing", "other is unknown", "features.0.bias is (3,), not (64,)"):
            assert part in str(failure.value)

    @pytest.mark.parametrize(
        ("name", "old_names"),
        [
            ("densenet121", {"norm1.": "norm.1.", "norm2.": "norm.2.", "conv1.": "conv.1.", "conv2.": "conv.2."}),
            ("vit_b_32", {".mlp.0.": ".mlp.linear_1.", ".mlp.3.": ".mlp.linear_2."}),
        ],
    )
    def test_published_files_with_the_names_of_older_versions_fit(self, name, old_names, on_meta):
        def old(key):
            if "denselayer" in key or "mlp" in key:
                for today, before in old_names.items():
                    key = key.replace(today, before)
            return key

        today = list(models.build(name, 7).state_dict())
        assert [old(key) for key in today] != today
        assert [todays_name(old(key)) for key in today] == today

    def test_a_layer_of_an_old_name_is_loaded_into_its_place_and_one_that_is_the_models_own_stays(self):
        class Network(nn.Module):
            def __init__(self, first):
                super().__init__()
                self.mlp = nn.ModuleDict({first: nn.Linear(2, 2)})
                self.block = nn.ModuleDict({"mlp": nn.ModuleDict({first: nn.Linear(2, 2)})})
                self.fc = nn.Linear(2, 3)

        old = Network("linear_1")
        for network, first in ((Network("0"), "0"), (Network("linear_1"), "linear_1")):
            state = {key: t for key, t in old.state_dict().items() if not key.startswith("mlp.")}
            state |= {f"mlp.{first}.{key}": t for key, t in old.mlp["linear_1"].state_dict().items()}
            load_backbone(network, state, "w.pth")
            assert network.block["mlp"][first].weight.equal(old.block["mlp"]["linear_1"].weight)

    def test_a_network_that_wants_to_know_the_version_of_its_weights_is_told(self, tmp_path):
        """MNASNet refuses a state dict without one, and plain names and tensors have none."""
        path = tmp_path / "w.pth"
        torch.save(models.build("mnasnet0_5", 1000).state_dict(), path)
        assert models.build("mnasnet0_5", 7, str(path)).classifier[1].out_features == 7

    def test_weights_without_values_are_refused(self, tmp_path):
        """torchvision's IMAGENET1K_FEATURES of vgg16 have a classifier of NaN."""

        def change(state):
            state["features.0.weight"].fill_(float("nan"))
            return state

        _, path = self.saved(tmp_path, change)
        with pytest.raises(UserError, match="features.0.weight is not finite"):
            models.build("squeezenet1_1", 7, str(path))

    @pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
    def test_a_network_built_again_from_its_own_weights_is_the_same_function(self, name, on_meta):
        """What the weights' name decides is not in the state dict, and would be lost."""
        with_weights, without = models.build(name, 7, "DEFAULT", load=False), models.build(name, 7)
        assert with_weights.transform_input == without.transform_input

    def test_a_file_that_is_not_there_or_cut_off_is_named(self, tmp_path):
        with pytest.raises(UserError, match="no such weights file"):
            models.build("squeezenet1_1", 7, str(tmp_path / "gone.pth"))
        _, path = self.saved(tmp_path)
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(UserError, match="cannot read the weights") as failure:
            models.build("squeezenet1_1", 7, str(path))
        assert failure.value.code == DAMAGED

    def test_no_pickle_is_ever_run(self, tmp_path, monkeypatch):
        class Malice:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "canary"),)

        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        plain, in_torch = tmp_path / "plain.pth", tmp_path / "torch.pth"
        plain.write_bytes(pickle.dumps(Malice()))
        torch.save({"features.0.weight": Malice()}, in_torch)
        for path in (plain, in_torch):
            with pytest.raises(UserError, match="cannot read the weights"):
                models.build("squeezenet1_1", 7, str(path))
        assert not (tmp_path / "canary").exists()

    def test_a_tensor_that_claims_terabytes_is_refused(self, tmp_path):
        path = tmp_path / "w.pth"
        torch.save({"features.0.weight": torch.zeros(1).expand(1 << 40)}, path)
        with pytest.raises(UserError, match="claims more than it holds"):
            models.build("squeezenet1_1", 7, str(path))

    @pytest.mark.parametrize(
        "odd", [torch.ones(64).to_sparse(), torch.ones(64, device="meta"), torch.ones(64, dtype=torch.complex64)]
    )
    def test_a_tensor_that_is_not_plain_is_refused(self, tmp_path, odd):
        _, path = self.saved(tmp_path, lambda state: {**state, "features.0.bias": odd})
        with pytest.raises(UserError, match="not a plain one"):
            models.build("squeezenet1_1", 7, str(path))

    @pytest.mark.parametrize("content", [{1: torch.zeros(2)}, {"a": "text"}, [torch.zeros(2)], torch.zeros(2)])
    def test_a_file_of_something_else_is_refused(self, tmp_path, content):
        path = tmp_path / "w.pth"
        torch.save(content, path)
        with pytest.raises(UserError, match="holds no state dict"):
            read_state_dict(path)

    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_file_with_changed_bytes_is_read_or_refused_in_one_line(self, tmp_path, zipped):
        """Fuzzed: torch's unpickler fails in a dozen ways (AssertionError, IndexError, struct.error, ...)."""
        path, chance = tmp_path / "w.pth", random.Random(0)
        torch.save({"a": torch.zeros(3), "b": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        refused = 0
        for _ in range(200):
            content = bytearray(whole)
            for _ in range(chance.randint(1, 4)):
                content[chance.randrange(len(content))] = chance.randrange(256)
            path.write_bytes(content)
            try:
                read_state_dict(path)
            except UserError as error:
                refused += 1
                assert error.code == DAMAGED
                assert "\n" not in str(error)
        assert refused > 50

    def test_a_damaged_file_of_an_earlier_download_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"<html>")
        with pytest.raises(UserError, match="resnet18-f37072fd.pth.*Remove it") as failure:
            models.build("resnet18", 7, "DEFAULT")
        assert failure.value.code == DAMAGED

    def test_an_unknown_weights_name_suggests_the_nearest(self):
        with pytest.raises(UserError, match="Did you mean 'IMAGENET1K_V1'?"):
            models.build("resnet18", 7, "IMAGENET_V1")

    def test_names_of_weights_are_for_torchvisions_models_only(self):
        with pytest.raises(UserError, match="cifar10_cnn has no published weights 'DEFAULT'"):
            models.build("cifar10_cnn", 7, "DEFAULT")

    def test_weights_that_cannot_be_downloaded_say_what_to_fetch_and_where_to_put_it(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
        with pytest.raises(UserError) as failure:
            models.build("resnet18", 7, "DEFAULT")
        for part in ("https://download.pytorch.org/models/resnet18", "45 MB", str(tmp_path), "--set weights=PATH"):
            assert part in str(failure.value)


class TestPreprocessing:
    def test_weights_bring_their_own(self):
        assert models.weights_preprocessing("resnet50", "DEFAULT").resize == 232
        assert models.weights_preprocessing("densenet121", "DEFAULT").resize == 256
        assert models.weights_preprocessing("efficientnet_b0", "DEFAULT").interpolation == "bicubic"

    def test_a_file_is_recognised_by_its_published_name(self):
        assert models.weights_preprocessing("resnet50", "/x/resnet50-11ad3fa6.pth").resize == 232
        assert models.weights_preprocessing("resnet50", "/x/my.pth").resize == 256

    def test_a_vit_is_built_for_the_size_of_its_weights(self, on_meta):
        assert models.input_of("vit_b_16", "IMAGENET1K_SWAG_E2E_V1").size == 384
        assert models.build("vit_b_16", 7, "IMAGENET1K_SWAG_E2E_V1", load=False).image_size == 384


class TestFreezing:
    def train_a_little(self, network, frozen, images):
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
    def test_a_frozen_backbone_keeps_every_parameter_and_buffer_to_the_bit(self, name):
        network = models.build(name, 3)
        frozen = freeze(network, "head")
        head = find_head(network)[0]
        before = {key: value.clone() for key, value in network.state_dict().items()}
        self.train_a_little(network, frozen, torch.rand(4, 3, 32, 32))
        changed = {key for key, value in network.state_dict().items() if not value.equal(before[key])}
        assert changed == {f"{head}.weight", f"{head}.bias"}

    def test_a_prefix_frees_its_child_and_all_after_it(self):
        network = models.build("resnet18", 3)
        frozen = freeze(network, "layer4")
        trainable = {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}
        assert trainable == {"layer4", "fc"}
        network.train()
        keep_frozen(frozen)
        assert network.layer4[0].bn1.training
        assert not network.layer3[0].bn1.training

    def test_the_dropout_before_the_head_stays_live(self):
        network = models.build("mobilenet_v2", 3)
        frozen = freeze(network, "head")
        network.train()
        keep_frozen(frozen)
        assert network.classifier[0].training
        assert not network.features[1].conv[0][1].training

    def test_a_dropout_at_the_end_of_a_frozen_block_is_off(self):
        block = nn.TransformerEncoderLayer(8, 2, batch_first=True)  # its last two modules are Dropouts
        network = nn.Sequential(block, nn.Linear(8, 3))
        frozen = freeze(network, "head")
        network.train()
        keep_frozen(frozen)
        assert not any(module.training for module in block.modules())

    def test_a_model_that_is_nothing_but_its_head_freezes_nothing(self):
        network = nn.Linear(4, 3)
        assert freeze(network, "head") == []
        assert count_parameters(network) == (15, 0)

    def test_stochastic_depth_of_a_frozen_part_is_off(self):
        network = models.build("efficientnet_b0", 3)
        frozen = freeze(network, "head")
        network.train()
        keep_frozen(frozen)
        assert not any(m.training for m in network.modules() if type(m).__name__ == "StochasticDepth")

    def test_an_unknown_part_suggests_the_nearest(self):
        with pytest.raises(UserError, match="no part 'layr4' in the model to train. Did you mean 'layer4'?"):
            freeze(models.build("resnet18", 3), "layr4")

    def test_all_freezes_nothing(self):
        network = models.build("resnet18", 3)
        assert freeze(network, "all") == []
        assert count_parameters(network)[1] == 0


def test_the_architecture_says_where_the_network_comes_from():
    assert models.architecture("densenet121") == "torchvision:densenet121"
    assert models.architecture("cifar10_cnn") == "ignite_vision:cifar10_cnn"
    function = SMALL["cifar10_cnn"].build
    assert models.architecture(function) == "recipe:ignite_vision.models.small:cifar10_cnn"
    assert models.architecture(functools.partial(function)) == "recipe:ignite_vision.models.small:cifar10_cnn"


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
