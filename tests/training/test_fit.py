"""Training on real, tiny engines: what an epoch does, and the traps of Ignite that it must not fall into."""

import json

import torch
from ignite.engine import Events

from tests.helpers.runs import history, same, train, weights


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
    assert same(weights(runs[0]), weights(runs[1]))
    for file in ("history.jsonl", "metrics.json", "predictions.csv", "model.safetensors"):
        assert (runs[0].directory / file).read_bytes() == (runs[1].directory / file).read_bytes()


def test_another_seed_gives_other_weights_on_the_same_split(make_run, tmp_path):
    one, two = make_run(out=tmp_path / "one"), make_run(out=tmp_path / "two", seed=1)
    train(one)
    train(two)
    assert not same(weights(one), weights(two))
    assert (one.directory / "splits.csv").read_bytes() == (two.directory / "splits.csv").read_bytes()


def test_the_best_epoch_is_published_not_the_last(make_run):
    kept = {}

    def handlers(run):
        @run.trainer.on(Events.EPOCH_COMPLETED)
        def remember(trainer):
            kept[trainer.state.epoch] = weights(run)

        @run.trainer.on(Events.EPOCH_COMPLETED(once=2))
        def ruin():
            with torch.no_grad():
                run.model[-1].weight.zero_()

    run = make_run(epochs=4, handlers=handlers, lr=0.01)
    train(run)
    best = [row["epoch"] for row in history(run) if row["best"]][-1]
    from safetensors.torch import load_file

    assert same(load_file(run.directory / "model.safetensors"), kept[best])


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


def test_tensorboard_has_the_curves(make_run):
    run = make_run()
    train(run)
    events = list((run.directory / "tensorboard").glob("events.out.tfevents.*"))
    assert events and events[0].stat().st_size > 200
