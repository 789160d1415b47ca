"""Models: every name builds and has its head replaced, weights fit or are refused, and frozen is frozen."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models as zoo
from torchvision.models.regnet import BlockParams

from ignite_vision import models
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.images import read_image
from ignite_vision.networks import SMALL
from ignite_vision.preprocessing import canvas, normalize

NAMES = zoo.list_models(module=zoo)
# A few that cover every kind of head; the others are slow to build, even without memory.
QUICK = {"alexnet", "resnet18", "squeezenet1_1", "vgg11", "googlenet", "mnasnet0_5", "vit_b_32", "shufflenet_v2_x0_5"}


@pytest.fixture
def on_meta(monkeypatch):
    """Build without memory. RegNets compute their widths with tensors, which must have values."""
    compute = BlockParams.from_init_params.__func__

    def on_cpu(cls, *args, **kwargs):
        with torch.device("cpu"):
            return compute(cls, *args, **kwargs)

    monkeypatch.setattr(BlockParams, "from_init_params", classmethod(on_cpu))
    with torch.device("meta"):
        yield


@pytest.mark.filterwarnings("ignore:The default weight initialization")
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES])
def test_every_classifier_of_torchvision_has_a_head_of_seven_at_its_smallest_size(name, on_meta):
    network = models.build(name, 7)
    spec = models.input_of(name)
    images = torch.empty(2, spec.channels, spec.minimum, spec.minimum)
    assert network.train()(images).shape == (2, 7)
    assert network.eval()(images).shape == (2, 7)
    head = models.find_head(network)[1]
    assert 7 in head.weight.shape[:1]
    models.freeze(network, "head")
    trained = {id(p) for p in network.parameters() if p.requires_grad}
    assert trained == {id(p) for p in head.parameters()}


@pytest.mark.parametrize("name", SMALL)
def test_our_own_networks_fit_what_they_say_they_want(name):
    spec = models.input_of(name)
    assert models.build(name, 5)(torch.zeros(2, spec.channels, spec.size, spec.size)).shape == (2, 5)


def test_257_classes_are_257():
    assert models.find_head(models.build("resnet18", 257))[1].out_features == 257


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
        models.find_head(nn.Sequential(nn.ReLU()))


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
        assert models._from_zoo("vit_b_16", 7, "IMAGENET1K_SWAG_E2E_V1").image_size == 384


class TestFreezing:
    def train_a_little(self, network, frozen, images):
        """Take three steps as Ignite's do: model.train() in each."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(parameters, 0.1)
        for _ in range(3):
            network.train()
            models.keep_frozen(frozen)
            optimizer.zero_grad()
            network(images).square().sum().backward()
            optimizer.step()

    @pytest.mark.parametrize("name", ["resnet18", "densenet121"])
    def test_a_frozen_backbone_keeps_every_parameter_and_buffer_to_the_bit(self, name):
        network = models.build(name, 3)
        frozen = models.freeze(network, "head")
        head = models.find_head(network)[0]
        before = {key: value.clone() for key, value in network.state_dict().items()}
        self.train_a_little(network, frozen, torch.rand(4, 3, 32, 32))
        changed = {key for key, value in network.state_dict().items() if not value.equal(before[key])}
        assert changed == {f"{head}.weight", f"{head}.bias"}

    def test_a_prefix_frees_its_child_and_all_after_it(self):
        network = models.build("resnet18", 3)
        frozen = models.freeze(network, "layer4")
        trainable = {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}
        assert trainable == {"layer4", "fc"}
        network.train()
        models.keep_frozen(frozen)
        assert network.layer4[0].bn1.training
        assert not network.layer3[0].bn1.training

    def test_the_dropout_before_the_head_stays_live(self):
        network = models.build("mobilenet_v2", 3)
        frozen = models.freeze(network, "head")
        network.train()
        models.keep_frozen(frozen)
        assert network.classifier[0].training
        assert not network.features[1].conv[0][1].training

    def test_stochastic_depth_of_a_frozen_part_is_off(self):
        network = models.build("efficientnet_b0", 3)
        frozen = models.freeze(network, "head")
        network.train()
        models.keep_frozen(frozen)
        assert not any(m.training for m in network.modules() if type(m).__name__ == "StochasticDepth")

    def test_an_unknown_part_suggests_the_nearest(self):
        with pytest.raises(UserError, match="no part 'layr4' in the model to train. Did you mean 'layer4'?"):
            models.freeze(models.build("resnet18", 3), "layr4")

    def test_all_freezes_nothing(self):
        network = models.build("resnet18", 3)
        assert models.freeze(network, "all") == []
        assert models.count_parameters(network)[1] == 0


def test_the_architecture_says_where_the_network_comes_from():
    assert models.architecture("densenet121") == "torchvision:densenet121"
    assert models.architecture("cifar10_cnn") == "ignite_vision:cifar10_cnn"
    assert models.architecture(SMALL["cifar10_cnn"].build) == "recipe:ignite_vision.networks:cifar10_cnn"


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
    network.load_state_dict(models.read_state_dict(Path(weights)))
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
