"""timm's classifiers: names, sizes, preprocessing, licences, weights; and what is refused."""

import builtins
import importlib.util
import subprocess
import sys

import pytest
import torch

from ignite_vision import Classifier, models
from ignite_vision.data.images import read_image
from ignite_vision.data.preprocessing import canvas, normalize
from ignite_vision.errors import UserError
from ignite_vision.models.families import find, timm
from ignite_vision.models.families.family import NotInstalled
from ignite_vision.models.head import find_head, freeze
from ignite_vision.models.meta import without_memory
from ignite_vision.models.model_file import load_model, read_header, write_model
from ignite_vision.models.weights import read_state_dict
from tests.helpers.runs import plan_of, train
from tests.inference.test_classifier import as_printed, printed
from tests.models.families.test_torchvision import SYNSETS

DINO = "timm:vit_small_patch14_dinov2"


def on_meta(*arguments, **options):
    return without_memory(lambda: models.build(*arguments, **options))


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0.in1k", "vit_tiny_patch16_224", "squeezenet"])
def test_a_name_is_found_with_the_prefix_alone(name):
    if name == "squeezenet":
        with pytest.raises(UserError, match="no model 'timm:squeezenet'. Did you mean 'timm:"):
            find(f"timm:{name}")
    else:
        assert find(f"timm:{name}")[0].prefix == "timm"
        assert models.architecture(f"timm:{name}") == f"timm:{name}"
    assert models.architecture("resnet18") == "torchvision:resnet18"


def test_a_name_without_the_prefix_suggests_it():
    with pytest.raises(UserError, match="Did you mean 'timm:tf_efficientnet_lite2'"):
        find("tf_efficientnet_lite2")


@pytest.mark.parametrize(
    "name", ["hf_hub:timm/resnet18.a1_in1k", "hf-hub:x/y", "local-dir:/tmp", "resnet18.no_such_tag", "resnet18.", ""]
)
def test_nothing_but_what_timm_lists_is_looked_up(name):
    with pytest.raises(UserError, match="unknown architecture"):
        models.build_architecture(f"timm:{name}", 3)
    with pytest.raises(UserError, match="no model"):
        find(f"timm:{name}")


def test_the_head_is_new_and_trains_alone():
    network = on_meta("timm:tf_efficientnet_lite0", 7)
    head = find_head(network)[1]
    assert head.out_features == 7
    freeze(network, "head")
    assert {id(p) for p in network.parameters() if p.requires_grad} == {id(p) for p in head.parameters()}


def test_preprocessing_is_what_timm_records():
    lite = models.weights_preprocessing("timm:tf_efficientnet_lite2", "DEFAULT")
    assert (lite.resize, lite.crop, lite.interpolation) == (292, 260, "bicubic")  # floor(260 / 0.89)
    assert lite.mean == lite.std == (0.5, 0.5, 0.5)


def test_a_tag_of_the_model_or_of_the_files_name_says_which_weights():
    crops = [models.weights_preprocessing(f"timm:resnet50.{tag}", "x.pth").crop for tag in ("a1_in1k", "tv_in1k")]
    assert crops == [224, 224]
    name = "timm:vit_base_patch16_clip_224"
    assert (
        find(name)[0].licence(name.partition(":")[2], "/x/vit_base_patch16_clip_224.dfn2b.safetensors") == "apple-ascl"
    )
    assert models.weights_preprocessing("timm:resnet50", "/x/resnet50.a1_in1k.safetensors").resize == 235
    assert models.weights_preprocessing("timm:resnet50", "/x/resnet50.tv_in1k.safetensors").resize == 256


def test_licences_are_timms():
    licence = timm.FAMILY.licence
    assert licence("tf_efficientnet_lite2", "DEFAULT") == "apache-2.0"
    assert licence("convnextv2_tiny", "DEFAULT") == "cc-by-nc-4.0"
    assert licence("tf_efficientnet_lite2", "/x/tf_efficientnet_lite2.in1k.safetensors") == "apache-2.0"
    assert licence("tf_efficientnet_lite2", "/x/tf_efficientnet_lite0.in1k.safetensors") is None
    assert licence("tf_efficientnet_lite2", "/x/mine.pth") is None
    assert timm.FAMILY.source("convnextv2_tiny", "DEFAULT").startswith("timm:convnextv2_tiny.fcmae")


def test_dinov2_is_used_at_224_pixels_unless_another_size_is_asked_for():
    assert models.input_of(DINO, "DEFAULT") == models.InputSpec(3, 224, 224, resizable=True)
    assert models.notes_of(DINO, "DEFAULT") == [
        f"{DINO}: published for 518 pixels, used at 224 unless image_size says another number"
    ]
    assert on_meta(DINO, 3).pos_embed.shape[1] == 1 + 16**2
    assert on_meta(DINO, 3, image_size=518).pos_embed.shape[1] == 1 + 37**2


def test_a_size_that_the_name_says_is_kept():
    assert models.input_of("timm:vit_base_patch16_384").size == 384
    assert models.input_of("timm:vit_base_patch16_siglip_512").size == 512


def test_a_size_that_the_patches_do_not_fill_is_refused():
    with pytest.raises(UserError, match="cannot be built for images of 5 pixels"):
        on_meta("timm:vit_tiny_patch16_224", 3, image_size=5)


def test_what_is_cut_otherwise_than_in_training_is_said():
    (note,) = models.notes_of("timm:dm_nfnet_f0", "DEFAULT")
    assert "squashed" in note and "centre square" in note
    assert models.notes_of("timm:resnet50", "DEFAULT") == []


def test_a_network_without_a_classifier_is_refused():
    with pytest.raises(UserError, match="timm:qwen3_vit_88m_enc has no head"):
        on_meta("timm:qwen3_vit_88m_enc", 3)


def test_images_that_are_not_square_are_refused():
    with pytest.raises(UserError, match="1024x768 pixels"):
        models.weights_preprocessing("timm:vit_base_patch16_sapiens2", "DEFAULT")


@pytest.mark.parametrize(
    ("name", "weights", "words"),
    [
        ("resnet50", "a1_in1k", "no weights 'a1_in1k'.*a tag of the model: timm:resnet50.TAG of a1_in1k"),
        ("resnet50", "DEFALT", "Did you mean 'DEFAULT'"),
        ("legacy_senet154", "DEFAULT", "no safetensors file of weights is published"),
    ],
)
def test_weights_that_are_not_published_are_one_line(name, weights, words):
    for ask in (timm.FAMILY.read_weights, timm.FAMILY.weights_identity, timm.FAMILY.source):
        with pytest.raises(UserError, match=words):
            ask(name, weights)


def test_published_weights_are_known_by_their_repository():
    assert models.weights_content("timm:resnet50", "DEFAULT") == "timm/resnet50.a1_in1k"


def test_weights_that_cannot_be_downloaded_say_what_to_fetch(tmp_path):
    program = "from ignite_vision import models; models.build('timm:tf_efficientnet_lite2', 3, 'DEFAULT')"
    with pytest.raises(UserError) as failure, pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        exec(program)
    for part in ("https://huggingface.co/timm/tf_efficientnet_lite2.in1k", "tf_efficientnet_lite2.in1k.safetensors"):
        assert part in str(failure.value)


def test_without_timm_its_names_are_not_listed_and_asking_says_how_to_install_it(monkeypatch):
    real_import, real_spec = builtins.__import__, importlib.util.find_spec

    def without(name, *rest, **options):
        if name == "timm":
            raise ModuleNotFoundError("No module named 'timm'", name="timm")
        return real_import(name, *rest, **options)

    timm._listed.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "timm" else real_spec(name))
    try:
        with pytest.raises(NotInstalled, match="timm is not installed") as failure:
            find("timm:resnet18")
        assert "pip install 'ignite-vision[timm]'" in str(failure.value)
        assert not any(name.startswith("timm:") for name in models.names())
    finally:
        timm._listed.cache_clear()


def saved(tmp_path, name, num_classes=5, **options):
    """A state dict of a network of timm with fresh weights, in a file."""
    path = tmp_path / "weights.pth"
    torch.save(models.build(name, num_classes, **options).state_dict(), path)
    return str(path)


def test_weights_of_another_architecture_are_one_line(tmp_path):
    path = saved(tmp_path, "timm:resnet18")
    with pytest.raises(UserError, match="the weights do not fit the model: .* is missing"):
        models.build("timm:tf_efficientnet_lite0", 3, path)
    with pytest.raises(UserError, match="the weights do not fit the model"):
        models.build("timm:resnet34", 3, path)


def test_the_backbone_is_the_files_and_the_head_is_new(tmp_path):
    path = saved(tmp_path, "timm:resnet10t", 5)
    network, state = models.build("timm:resnet10t", 3, path), read_state_dict(tmp_path / "weights.pth")
    assert network.fc.out_features == 3
    assert all(tensor.equal(state[name]) for name, tensor in network.state_dict().items() if "fc." not in name)


def test_position_embeddings_are_resampled_for_another_size(tmp_path):
    path = saved(tmp_path, "timm:vit_tiny_patch16_224", image_size=96)
    network = models.build("timm:vit_tiny_patch16_224", 3, path, image_size=64)
    assert network.pos_embed.shape[1] == 1 + 4**2
    assert network.blocks[0].norm1.weight.equal(read_state_dict(tmp_path / "weights.pth")["blocks.0.norm1.weight"])


def test_loading_weights_changes_nobodys_next_random_number(tmp_path):
    path = saved(tmp_path, "timm:resnet10t")
    torch.manual_seed(0)
    models.build("timm:resnet10t", 3, load=False, weights=path)
    after = torch.rand(1)
    torch.manual_seed(0)
    models.build("timm:resnet10t", 3, path)
    assert torch.rand(1).equal(after)


def test_a_model_file_is_read_without_its_weights_being_downloaded(tmp_path):
    network, path = models.build("timm:resnet10t", 2).eval(), tmp_path / "model.safetensors"
    seen = models.weights_preprocessing("timm:resnet10t", "DEFAULT")
    header = {"task": "single-label", "architecture": "timm:resnet10t.c3_in1k", "num_classes": 2, "classes": ["a", "b"]}
    more = {"preprocessing": seen.to_dict(), "precision": "fp32", "temperature": 1.0}
    write_model(path, network.state_dict(), {**header, **more})
    images = torch.rand(2, 3, 64, 64)
    assert load_model(path, read_header(path))(images).equal(network(images))


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize(("name", "accuracy"), [("tf_efficientnet_lite0", 0.71), ("tf_efficientnet_lite2", 0.74)])
def test_given_weights_and_our_preprocessing_reach_their_accuracy_on_imagenet(test_data, name, accuracy):
    """A wrong normalisation, crop or colour order costs several points."""
    weights = str(test_data / "weights" / f"{name}.in1k.safetensors")
    network = timm.FAMILY.build(name, 1000, None)
    network.load_state_dict(read_state_dict(test_data / "weights" / f"{name}.in1k.safetensors"))
    network.eval()
    preprocessing = models.weights_preprocessing(f"timm:{name}", weights)
    right = 0
    for synset, index in SYNSETS.items():
        files = sorted((test_data / "imagenet_val_20x50" / synset).iterdir())[:20]
        squares = torch.stack([canvas(read_image(f), preprocessing, preprocessing.crop) for f in files])
        with torch.inference_mode():
            right += (network(normalize(squares, preprocessing)).argmax(1) == index).sum().item()
    assert right / 400 == pytest.approx(accuracy, abs=0.01)


@pytest.mark.real_data
@pytest.mark.slow
def test_a_run_keeps_features_and_its_file_gives_the_bits_of_its_predictions(test_data, make_run):
    weights = str(test_data / "weights" / "tf_efficientnet_lite0.in1k.safetensors")
    prepared = make_run(model="timm:tf_efficientnet_lite0", weights=weights, trainable="head", image_size=64)
    train(prepared)
    assert plan_of(prepared) == "features"
    classifier = Classifier.load(prepared.directory)
    assert classifier.header["architecture"] == "timm:tf_efficientnet_lite0"
    assert classifier.header["weights"] == {
        "source": "tf_efficientnet_lite0.in1k.safetensors",
        "license": "apache-2.0",
    }
    logits = classifier(torch.stack([image for image, _ in prepared.splits.test]))
    assert as_printed(logits, classifier) == printed(prepared)


@pytest.mark.slow
def test_the_command_line_does_not_import_timm_for_other_models():
    program = (
        "import sys; from ignite_vision import models; models.build('digits_cnn', 3); assert 'timm' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
