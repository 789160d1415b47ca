"""What holds the rows of a run: chosen by recipe, memory and disk, and said with the reason."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from ignite_vision import Splits, datasets
from ignite_vision.augment import RandomCrop
from ignite_vision.errors import UserError
from ignite_vision.loading import plan
from ignite_vision.loading.plan import Plan, Rows, choose
from ignite_vision.system import memory

PHOTOS = {"data_function": datasets.image_folder, "model": "cifar10_cnn"}


@pytest.mark.parametrize("cache", ["none", "resident", "pixels"])
def test_the_recipes_word_counts(make_run, image_folder, cache):
    assert choose(make_run(data=image_folder, cache=cache, **PHOTOS)).kind == cache


def test_a_few_images_are_held_in_memory_and_decoded_again_by_each_command(make_run, image_folder):
    chosen = choose(make_run(data=image_folder, **PHOTOS))
    assert (chosen.kind, chosen.on_disk) == ("resident", False)
    assert "MiB of pixels" in chosen.reason


def test_many_images_are_decoded_once_and_kept_on_disk(make_run, image_folder, monkeypatch):
    monkeypatch.setattr(plan, "DECODE_AGAIN", 10)
    chosen = choose(make_run(data=image_folder, **PHOTOS))
    assert (chosen.kind, chosen.on_disk) == ("resident", True)


def test_more_than_a_quarter_of_the_memory_goes_to_the_disk_and_without_room_there_is_decoded_each_time(
    make_run, image_folder, monkeypatch
):
    prepared = make_run(data=image_folder, **PHOTOS)
    monkeypatch.setattr(memory, "free_memory", lambda device: 4 * 24 * 3 * 32**2)
    assert choose(prepared).kind == "pixels"
    monkeypatch.setattr(plan, "has_room", lambda size: False)
    assert choose(prepared) == Plan("none", choose(prepared).reason)
    assert "no room on the disk" in choose(prepared).reason


def test_arrays_are_never_written_to_the_disk(make_run, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 0)
    assert choose(make_run()).kind == "none"


class Pictures(Dataset):
    targets = tuple(i % 2 for i in range(40))

    def __len__(self):
        return 40

    def __getitem__(self, i):
        return torch.zeros(1, 8, 8, dtype=torch.uint8), self.targets[i]


def test_a_custom_data_set_is_read_each_time(make_run):
    prepared = make_run(data_function=lambda folder: Splits(train=Pictures(), classes=("a", "b")), image_size=8)
    assert choose(prepared) == Plan("none", "a custom Dataset may return different images each time")


def test_a_recipe_that_insists_on_features_hears_why_there_are_none(make_run):
    with pytest.raises(UserError, match="features cannot be cached: trainable is 'all', not 'head'.*cache=auto"):
        choose(make_run(cache="features"))


def test_rows_are_made_when_asked_for_and_once(make_run):
    rows = Rows(make_run(), Plan("resident", "a test"))
    assert rows["val"] is rows["val"]
    with pytest.raises(KeyError):
        rows["validation"]


def linear(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))


def convolutional(num_classes):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, num_classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def test_logistic_regression_is_chosen_where_the_recipe_has_it(make_run):
    for head in ("logistic", "auto"):
        plan = choose(make_run(model=linear, trainable="head", head=head))
        assert (plan.kind, plan.head, plan.not_logistic) == ("features", "logistic", "")
    assert choose(make_run(model=linear, trainable="head")).head == "optimizer"


def test_what_rules_it_out_is_said_or_refused(make_run):
    plan = choose(make_run(model=convolutional, trainable="head", head="auto"))
    assert (plan.kind, plan.head) == ("features", "optimizer")
    assert plan.not_logistic == "the head is a Conv2d, not a Linear layer"
    with pytest.raises(UserError, match="cannot be trained by logistic regression: the head is a Conv2d") as failure:
        choose(make_run(model=convolutional, trainable="head", head="logistic"))
    assert "Use --set head=optimizer." in str(failure.value)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"trainable": "all"}, "trainable is 'all'"),
        ({"cache": "none"}, "cache is 'none'"),
        ({"augment": (RandomCrop(padding=1),)}, "the recipe augments"),
        ({"augment": (RandomCrop(padding=1),), "views": 2}, "the recipe has augment"),
        ({"loss": nn.CrossEntropyLoss(label_smoothing=0.1)}, "the recipe has loss"),
        ({"class_weights": "balanced"}, "the recipe has class_weights"),
        ({"sampler": "balanced"}, "the recipe has sampler"),
    ],
)
def test_a_recipe_that_leaves_it_open_trains_by_the_optimizer_otherwise(make_run, fields, why):
    plan = choose(make_run(**{"model": linear, "trainable": "head", "head": "auto", **fields}))
    assert plan.head == "optimizer" and why in plan.not_logistic
