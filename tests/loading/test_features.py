"""Features computed once: the same bits as without, and no second pass."""

import gc
import json
import threading
import weakref

import pytest
import torch
from torch import nn
from torchvision import models as zoo

from ignite_vision import datasets, models
from ignite_vision.augment import RandomCrop, RandomHorizontalFlip
from ignite_vision.errors import UserError
from ignite_vision.loading import cache
from ignite_vision.loading.features import Features, frozen_hash
from ignite_vision.models.head import split_at_head
from tests.helpers.runs import built, plan_of, said, train


def backbone(num_classes):
    """Return a network whose frozen part has all that must stand still, and whose head drops anew each time."""
    below = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
    return nn.Sequential(below, nn.Flatten(), nn.Dropout(0.3), nn.Linear(128, num_classes))


class Whole(nn.Module):
    """A network that goes on after its last layer."""

    def __init__(self, num_classes):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, num_classes)

    def forward(self, images):
        return self.head(self.body(images).mean((2, 3))) * 2


@pytest.fixture
def photo_run(make_run, image_folder, tmp_path):
    """Return a function that prepares a run on the photographs."""

    def make(name, **fields):
        fields = {"model": backbone, "trainable": "head", "image_size": 32, "epochs": 3, "batch_size": 16, **fields}
        return make_run(out=tmp_path / name, data=image_folder, **{"data_function": datasets.image_folder, **fields})

    return make


def backbone_passes(run):
    """Sizes of the batches that pass through the whole model, those of two rows aside, by which a cache is checked."""
    passes = []

    def count(_module, inputs):
        if len(inputs[0]) > 2:
            passes.append(len(inputs[0]))

    run.model.register_forward_pre_hook(count)
    return passes


def files(run):
    names = ("history.jsonl", "model.safetensors", "metrics.json", "predictions.csv")
    return {name: (run.directory / name).read_bytes() for name in names}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("workers", [0, 2])
def test_training_on_features_gives_the_same_bits_as_training_on_images(photo_run, precision, workers):
    runs = {
        kind: photo_run(kind, cache=kind, precision=precision, workers=workers)
        for kind in ("features", "resident", "pixels", "none")
    }
    for kind, run in runs.items():
        train(run)
        assert plan_of(run) == kind
    for kind in ("resident", "pixels", "none"):
        assert files(runs[kind]) == files(runs["features"]), kind


def test_another_head_rate_or_seed_makes_no_pass_over_the_backbone(photo_run):
    train(photo_run("first"))
    for name, change in {"rate": {"lr": 0.1}, "seed": {"optimizer": "sgd"}, "epochs": {"epochs": 5}}.items():
        run = photo_run(name, **change)
        passes = backbone_passes(run)
        # this backbone's weights are random: drawn from the seed, which therefore must stay
        train(run)
        assert (plan_of(run), passes) == ("features", [])


def test_a_changed_image_is_computed_again(photo_run, image_folder):
    train(photo_run("first"))
    path = next((image_folder / "apple").iterdir())
    path.write_bytes((image_folder / "banana" / "00.jpg").read_bytes())
    run = photo_run("second")
    passes = backbone_passes(run)
    train(run)
    assert passes


def test_a_cache_that_was_cut_off_is_computed_again_to_the_same_bits(photo_run, tmp_path):
    first = photo_run("first")
    train(first)
    for file in (tmp_path / "cache").rglob("*.raw"):
        file.write_bytes(file.read_bytes()[:100])
    second = photo_run("second")
    train(second)
    assert files(first) == files(second)


class TestKey:
    """What the rows are a function of: all of it, and nothing that changes by itself."""

    def test_a_layers_own_attributes_count_also_private_ones(self):
        def network(**attributes):
            torch.manual_seed(0)
            made = backbone(3)
            for name, value in attributes.items():
                setattr(made[0], name, value)
            return made

        hashes = [frozen_hash(network(**change)) for change in ({}, {"scale": 2}, {"_scale": 2}, {"_scale": 3})]
        assert len(set(hashes)) == 4
        assert frozen_hash(network()) == hashes[0]

    def test_what_cannot_be_described_is_trained_on_images(self, photo_run):
        def locked(num_classes):
            network = backbone(num_classes)
            network[0].lock = threading.Lock()
            return network

        assert built(photo_run("lock", model=locked)).plan.kind == "resident"
        with pytest.raises(UserError, match="what decides the features cannot be described"):
            built(photo_run("insists", model=locked, cache="features"))


def of_split(split, photo_run, **fields):
    """Where the features of a split are, as files."""
    prepared = photo_run("look", **fields)
    return Features(prepared)._on_disk(split)


class TestStillTrue:
    """A cache is believed only if some of its rows are what the model computes now."""

    @pytest.mark.parametrize("split", ["train", "val", "test"])
    def test_rows_that_are_not_are_computed_again(self, photo_run, split):
        first = photo_run("first")
        train(first)
        for file in of_split(split, photo_run).folder.glob("*.raw"):
            file.write_bytes(bytes(file.stat().st_size))
        second = photo_run("second")
        train(second)
        assert [line for line in said(second) if "computed again" in line] == [
            f"warning: cached features of {split} are not what the model computes: computed again"
        ]
        assert files(first) == files(second)

    def test_also_where_the_first_file_is_missing(self, photo_run, monkeypatch):
        monkeypatch.setattr(cache, "SHARD_ROWS", 16)
        first = photo_run("first")
        train(first)
        shards = of_split("train", photo_run)
        assert shards.count > 1
        shards.path(0).unlink()
        shards.path(1).write_bytes(bytes(shards.path(1).stat().st_size))
        second = photo_run("second")
        train(second)
        assert any("computed again" in line for line in said(second))
        assert files(first) == files(second)

    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_one_that_draws_for_a_whole_batch_is_not_taken_for_wrong(self, photo_run, precision):
        def noise(images, size):
            by = torch.randn(len(images), 1, 1, 1).abs().clamp(max=1)
            return (images * by).to(torch.uint8)

        fields = {"augment": (noise, RandomHorizontalFlip()), "views": 2, "precision": precision}
        train(photo_run("first", **fields))
        second = photo_run("second", **fields)
        passes = backbone_passes(second)
        train(second)
        assert not any("computed again" in line for line in said(second))
        assert passes == [16]  # the one batch that is checked


class TestViews:
    def test_random_augmentation_wants_a_number_of_views(self, photo_run):
        run = photo_run("fresh", augment=(RandomHorizontalFlip(),))
        run = built(run)
        assert run.plan.kind == "resident"
        with pytest.raises(UserError, match="sets no `views`"):
            built(photo_run("insists", augment=(RandomHorizontalFlip(),), cache="features"))

    def test_epochs_use_the_views_in_turn_and_validation_the_centre(self, photo_run):
        run = photo_run("views", augment=(RandomCrop(padding=4), RandomHorizontalFlip()), views=2)
        run = built(run)
        source = run.rows["train"]
        import numpy as np

        index = np.arange(4)
        first, second = source[0, index], source[1, index]
        assert not first.equal(second)
        assert source[2, index].equal(first)
        assert run.rows["val"].views == 1

    def test_three_seeds_share_one_set_of_views(self, photo_run, tmp_path):
        weights = tmp_path / "backbone.pth"
        torch.save(backbone(3).state_dict(), weights)
        for seed in (0, 1):
            run = photo_run(f"s{seed}", seed=seed, weights=str(weights), augment=(RandomHorizontalFlip(),), views=2)
            run = built(run)
        caches = [p for p in (tmp_path / "cache").rglob("features-*")]
        assert len(caches) == 2  # train and val

    def test_training_on_views_survives_json(self, photo_run):
        run = photo_run("json", augment=(RandomHorizontalFlip(),), views=2)
        train(run)
        assert json.loads((run.directory / "run.json").read_text())["cache"]["kind"] == "features"


def test_a_model_that_does_more_after_its_head_is_trained_whole(photo_run):
    run = photo_run("whole", model=Whole)
    run = built(run)
    assert run.plan.kind == "resident"
    with pytest.raises(UserError, match="computes something after its head"):
        built(photo_run("insists", model=Whole, cache="features"))


def test_a_run_that_trains_more_than_the_head_is_trained_on_images(photo_run):
    run = photo_run("all", trainable="all")
    run = built(run)
    assert run.plan.kind == "resident"


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "squeezenet1_1", "densenet121", "vgg11", "googlenet"])
def test_torchvisions_models_are_split_right_before_their_head(name):
    network = models.build(name, 7).eval()
    first, part = split_at_head(network)
    caught = []
    handle = first.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        whole = network(images)
        handle.remove()
        assert part(caught[0]).equal(whole)


def test_the_hash_follows_the_frozen_weights_and_not_the_head():
    network = zoo.squeezenet1_1(num_classes=3)
    before = frozen_hash(network)
    with torch.no_grad():
        network.classifier[1].weight.zero_()
    assert frozen_hash(network) == before
    with torch.no_grad():
        network.features[0].weight[0, 0, 0, 0] += 1
    assert frozen_hash(network) != before


def test_the_network_is_freed_with_its_features(photo_run):
    run = photo_run("run")
    features = Features(run)
    assert features.obstacle() is None
    network = weakref.ref(run.model)
    del features, run
    gc.collect()
    assert network() is None
