"""A whole training: what it leaves, that it repeats to the bit, and that any network can be trained and taken up."""

import json

import pytest
import torch
from ignite.engine import Events
from safetensors.torch import load_file
from torch import nn

from ignite_vision.errors import UserError
from tests.helpers.runs import (
    RESULTS,
    assert_same_results,
    history,
    interrupted,
    same,
    train,
    weights,
)


def test_a_run_leaves_a_directory_that_a_person_can_read(make_run):
    run = make_run()
    train(run)
    left = {path.name for path in run.directory.path.iterdir()}
    assert left == {
        ".lock",
        "run.json",
        "recipe.py",
        "splits.csv",
        "history.jsonl",
        "timings.jsonl",
        "curves.svg",
        "tensorboard",
        "checkpoints",
        "model.safetensors",
        "metrics.json",
        "per_class.csv",
        "confusion.csv",
        "coverage.csv",
        "predictions.csv",
    }


def test_history_has_a_row_an_epoch_and_nothing_from_the_clock(make_run):
    run = make_run(epochs=3)
    train(run)
    fields = [
        "epoch",
        "iteration",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "lr",
        "best",
        "stopped",
    ]
    assert [list(row) for row in history(run)] == [fields] * 3
    assert [row["epoch"] for row in history(run)] == [1, 2, 3]
    assert [row["iteration"] for row in history(run)] == [4, 8, 12]
    timings = [json.loads(line) for line in (run.directory / "timings.jsonl").read_text().splitlines()]
    assert all(row["seconds"] > 0 and row["images_per_second"] > 0 for row in timings)


def test_the_same_recipe_and_seed_give_the_same_bits(make_run, tmp_path):
    runs = [make_run(out=tmp_path / name) for name in ("one", "two")]
    for run in runs:
        train(run)
    assert_same_results(*runs)


def test_another_seed_gives_other_weights_on_the_same_split(make_run, tmp_path):
    one, two = make_run(out=tmp_path / "one"), make_run(out=tmp_path / "two", seed=1)
    train(one)
    train(two)
    assert not same(weights(one), weights(two))
    assert (one.directory / "splits.csv").read_bytes() == (two.directory / "splits.csv").read_bytes()


def test_the_test_split_is_looked_at_only_after_the_last_epoch(make_run):
    looked = []

    def handlers(run):
        read = type(run.splits.test).__getitem__
        run.splits.test.__class__ = type("Watched", (type(run.splits.test),), {})
        run.splits.test.__class__.__getitem__ = lambda self, i: (
            looked.append(len(run.history.rows)),
            read(self, i),
        )[1]

    run = make_run(epochs=2, cache="none", handlers=handlers)
    train(run)
    assert looked and set(looked) == {2}


def test_train_val_and_test_share_no_image(make_run):
    run = make_run()
    ids = [
        {split.sample_id(i) for i in range(len(split))} for split in (run.splits.train, run.splits.val, run.splits.test)
    ]
    assert sum(map(len, ids)) == len(set.union(*ids)) == 120


def test_fp16_is_refused_on_a_cpu(make_run):
    with pytest.raises(UserError, match="fp16 needs a CUDA device"):
        make_run(precision="fp16")


def test_a_run_that_resumes_keeps_its_precision_whatever_auto_means_now(make_run, monkeypatch):
    from ignite_vision.system import device

    monkeypatch.setattr(device, "has_bf16", lambda device: True)
    first = make_run(precision="auto")
    train(first)
    monkeypatch.setattr(device, "has_bf16", lambda device: False)
    assert make_run(precision="auto", epochs=3).precision == first.precision == "bf16"


def test_a_recipes_handlers_find_the_epoch_validated_and_recorded(make_run):
    def handlers(run):
        @run.trainer.on(Events.EPOCH_COMPLETED)
        def look(trainer):
            row = run.history.rows[-1]
            assert (row.epoch, row.iteration) == (trainer.state.epoch, trainer.state.iteration)
            assert row.val_loss == run.evaluator.state.metrics["loss"]
            assert len(run.evaluator.state.logits) == len(run.splits.val)

    train(make_run(handlers=handlers))


class SharedLayer(nn.Module):
    """One layer under two names."""

    def __init__(self, num_classes):
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.again = self.first
        self.head = nn.Linear(64, num_classes)

    def forward(self, images):
        return self.head(self.again(self.first(images.flatten(1)).relu()).relu())


class TiedWeights(nn.Module):
    """One tensor as the weight of two layers."""

    def __init__(self, num_classes):
        super().__init__()
        self.encode, self.decode = nn.Linear(64, 64), nn.Linear(64, 64)
        self.decode.weight = self.encode.weight
        self.head = nn.Linear(64, num_classes)

    def forward(self, images):
        return self.head(self.decode(self.encode(images.flatten(1)).relu()).relu())


class Masked(nn.Module):
    """A buffer of -inf, as a causal mask is."""

    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(8, num_classes)
        self.register_buffer("mask", torch.full((8, 8), float("-inf")).triu(1))

    def forward(self, images):
        rows = images[:, 0]
        attention = (rows @ rows.transpose(1, 2) + self.mask).softmax(-1)
        return self.head((attention @ rows).mean(1))


class Counting(nn.Linear):
    """State that is no tensor, and decides what comes out."""

    def __init__(self, num_classes):
        super().__init__(64, num_classes)
        self.calls = 0

    def forward(self, images):
        self.calls += self.training
        return super().forward(images.flatten(1)) * (1 + self.calls % 3)

    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]


@pytest.mark.parametrize("model", [SharedLayer, TiedWeights, Masked, Counting], ids=lambda model: model.__name__)
def test_any_network_trains_stops_resumes_to_the_same_bits_and_finishes(make_run, tmp_path, model):
    def make(num_classes):
        return model(num_classes)

    fields = {"model": make, "epochs": 3, "lr": 0.01}
    whole = make_run(out=tmp_path / "whole", **fields)
    assert train(whole).epochs == 3
    assert interrupted(make_run(out=tmp_path / "parts", **fields), 6) == 75
    parts = make_run(out=tmp_path / "parts", **fields)
    train(parts)
    for name in RESULTS:
        assert (whole.directory / name).read_bytes() == (parts.directory / name).read_bytes()
    assert train(make_run(out=tmp_path / "parts", **fields)).finished_before
    published = load_file(parts.directory.model)
    assert all(published[name].equal(tensor) for name, tensor in parts.model.state_dict().items() if name in published)


@pytest.mark.slow
def test_mnasnet_which_asks_for_the_versions_of_its_layers_does_so_too(make_run, tmp_path):
    fields = {"model": "mnasnet0_5", "image_size": 32, "epochs": 2, "cache": "none"}
    whole = make_run(out=tmp_path / "whole", **fields)
    train(whole)
    interrupted(make_run(out=tmp_path / "parts", **fields), 6)
    parts = make_run(out=tmp_path / "parts", **fields)
    train(parts)
    assert_same_results(whole, parts)
