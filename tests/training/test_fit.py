"""Training on real, tiny engines: what an epoch does, and the traps of Ignite that it must not fall into."""

import dataclasses
import json
import math
import os
import signal

import pytest
import torch
from ignite.engine import Events
from ignite.handlers import create_lr_scheduler_with_warmup
from ignite.metrics import Accuracy
from torch import nn

from ignite_vision.augment import RandomHorizontalFlip
from ignite_vision.errors import Stopped, UserError
from ignite_vision.training import fit
from tests.helpers.runs import begun, built, fitted, history, same, train, weights


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


def test_validation_is_never_augmented(make_run):
    class Invert:
        draws = 1

        def __call__(self, images, u, size):
            return 255 - images

    run = make_run(augment=(Invert(),))
    run = built(run)
    seen = []
    run.model.register_forward_pre_hook(lambda module, args: seen.append((module.training, args[0].mean().item())))
    run.trainer.run(run.loaders.train, max_epochs=1)
    run.evaluator.run(run.loaders.val)
    trained = [mean for training, mean in seen if training]
    validated = [mean for training, mean in seen if not training]
    assert min(trained) > max(validated) + 0.05  # dark and middle pictures are more than bright ones when inverted


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


@pytest.mark.parametrize("n", [17, 24, 31, 32])
def test_metrics_weigh_every_image_once_whatever_the_last_batch(make_run, n):
    run = make_run()
    run = dataclasses.replace(run, splits=dataclasses.replace(run.splits, val=run.splits.train.subset(range(n))))
    run = built(run)
    run.evaluator.run(run.loaders.val)
    with torch.no_grad():
        images = torch.cat([batch[0][: len(batch[1])] for batch in run.loaders.val]).float()
        logits = run.model.eval()((images / 255 - 0.5) / 0.5)
    right = (logits.argmax(1) == run.splits.val.targets).float().mean().item()
    assert run.evaluator.state.metrics["accuracy"] == pytest.approx(right, abs=1e-7)
    loss = nn.functional.cross_entropy(logits, run.splits.val.targets).item()
    assert run.evaluator.state.metrics["loss"] == pytest.approx(loss, rel=1e-4)


def test_running_accuracy_is_that_of_the_training_batches(make_run):
    def handlers(run):
        Accuracy().attach(run.trainer, "ignites")

    run = fitted(make_run(epochs=1, handlers=handlers))
    assert history(run)[0]["train_accuracy"] == pytest.approx(run.trainer.state.metrics["ignites"])


def test_a_recipes_handlers_see_the_live_run_and_can_keep_state_in_checkpoints(make_run):
    class Counter:
        n = 0

        def state_dict(self):
            return {"n": self.n}

        def load_state_dict(self, state):
            self.n = state["n"]

    def handlers(run):
        counter = Counter()
        run.persist("counter", counter)

        @run.trainer.on(Events.ITERATION_COMPLETED)
        def count():
            counter.n += 1
            run.history.record("counted", counter.n)

    train(make_run(epochs=1, handlers=handlers))
    again = make_run(epochs=2, handlers=handlers)
    train(again)
    assert [row["counted"] for row in history(again)] == [4, 8]  # 4 iterations remembered, 4 more


def test_frozen_layers_and_their_statistics_stay_as_they_were(make_run):
    def backbone(num_classes):
        return nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
            nn.Linear(144, num_classes),
        )

    run = make_run(model=backbone, trainable="head")
    before = weights(run)
    train(run)
    changed = {name for name, tensor in weights(run).items() if not tensor.equal(before[name])}
    assert changed == {"1.weight", "1.bias"}


def test_gradient_accumulation_equals_the_whole_batch(make_run, tmp_path):
    def linear(num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

    whole = make_run(out=tmp_path / "whole", model=linear, optimizer="sgd", batch_size=16)
    parts = make_run(out=tmp_path / "parts", model=linear, optimizer="sgd", batch_size=16, accumulate=2)
    train(whole)
    train(parts)
    for name, tensor in weights(whole).items():
        assert torch.allclose(tensor, weights(parts)[name], atol=1e-6)


def test_accumulation_never_carries_a_gradient_over_an_epochs_end(make_run):
    steps = []

    def handlers(run):
        run.optimizer.register_step_post_hook(lambda *_: steps.append(run.trainer.state.iteration))

    run = make_run(batch_size=24, accumulate=2, handlers=handlers)  # 72 images: 6 halves an epoch
    train(run)
    assert steps == [2, 4, 6, 8, 10, 12]


class TestEarlyStopping:
    def test_it_counts_over_epochs_not_within_one_evaluation(self, make_run):
        run = make_run(epochs=30, patience=3, lr=0.01)
        train(run)
        rows = history(run)
        assert len(rows) < 30
        assert rows[-1]["stopped"]
        assert not any(row["stopped"] for row in rows[:-1])
        best = [row["epoch"] for row in rows if row["best"]][-1]
        assert rows[-1]["epoch"] == best + 3

    def test_a_run_that_stopped_early_is_finished(self, make_run):
        run = make_run(epochs=30, patience=2, lr=0.01)
        train(run)
        assert train(make_run(epochs=30, patience=2, lr=0.01)).finished_before


class TestNotANumber:
    def test_a_nan_loss_stops_before_the_step_and_names_its_place(self, make_run):
        calls = []

        def loss(logits, targets):
            calls.append(1)
            return nn.functional.cross_entropy(logits, targets) * (math.nan if len(calls) == 6 else 1)

        run = make_run(loss=loss)
        with pytest.raises(UserError, match="not finite in epoch 2, iteration 6"):
            train(run)
        assert all(torch.isfinite(p).all() for p in run.model.parameters())

    def test_a_nan_score_is_never_best(self, make_run):
        def handlers(run):
            @run.evaluator.on(Events.COMPLETED)
            def spoil(engine):
                if len(run.history.rows) == 0:
                    engine.state.metrics["loss"] = math.nan

        run = make_run(handlers=handlers)
        train(run)
        assert [row["best"] for row in history(run)] == [False, True]


class TestResume:
    def interrupt(self, make_run, at, number=signal.SIGTERM, **fields):
        """Train until iteration `at`, where a signal comes."""
        run = begun(make_run(**fields))

        @run.trainer.on(Events.ITERATION_COMPLETED(once=at))
        def stop():
            os.kill(os.getpid(), number)

        with pytest.raises(Stopped) as stopped, run.directory.claimed():
            fit(run)
        return stopped.value.code

    @pytest.mark.parametrize("at", [1, 3, 4, 6, 8, 11])
    def test_a_run_stopped_anywhere_ends_with_the_weights_of_one_that_never_was(self, make_run, tmp_path, at):
        fields = {"epochs": 3, "augment": (RandomHorizontalFlip(),), "schedule": "cosine", "patience": 2}
        whole = make_run(out=tmp_path / "whole", **fields)
        train(whole)
        assert self.interrupt(make_run, at, out=tmp_path / "parts", **fields) == 75
        parts = make_run(out=tmp_path / "parts", **fields)
        train(parts)
        assert same(weights(whole), weights(parts))
        for file in ("history.jsonl", "metrics.json", "predictions.csv", "model.safetensors"):
            assert (whole.directory / file).read_bytes() == (parts.directory / file).read_bytes()

    def test_ctrl_c_is_130(self, make_run):
        assert self.interrupt(make_run, 2, signal.SIGINT) == 130

    def test_a_finished_run_does_not_train_again(self, make_run):
        run = make_run()
        train(run)
        again = built(make_run())
        fit(again)
        assert again.trainer.state.iteration == history(run)[-1]["iteration"] == 8
        assert again.history.is_finished(2)

    def test_more_epochs_go_on_from_the_last(self, make_run):
        train(make_run(epochs=1))
        run = make_run(epochs=3)
        train(run)
        assert [row["epoch"] for row in history(run)] == [1, 2, 3]
        assert run.directory.read_settings()["recipe"]["epochs"] == 3

    def test_a_changed_recipe_is_refused_field_by_field(self, make_run):
        train(make_run())
        with pytest.raises(UserError, match=r"lr: 0.001 -> 0.01, batch_size: 16 -> 8"):
            train(make_run(lr=0.01, batch_size=8))


def test_a_schedule_of_ignite_works_as_well_as_one_of_torch(make_run, tmp_path):
    def warmup(optimizer, steps):
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return create_lr_scheduler_with_warmup(decay, warmup_start_value=0.0, warmup_duration=4)

    run = make_run(schedule=warmup)
    train(run)
    assert history(run)[0]["lr"] > 0
    other = make_run(out=tmp_path / "cosine", schedule="cosine")
    train(other)
    assert [row["lr"] for row in history(other)] == pytest.approx([0.0005, 0])


def test_bf16_computes_its_loss_in_float32(make_run):
    run = make_run(precision="bf16")
    run = built(run)
    run.trainer.run(run.loaders.train, max_epochs=1)
    assert run.trainer.state.output["loss"].dtype == torch.float32
    assert run.trainer.state.output["y_pred"].dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in run.model.parameters())


def test_fp16_is_refused_on_a_cpu(make_run):
    with pytest.raises(UserError, match="fp16 needs a CUDA device"):
        make_run(precision="fp16")


def test_tensorboard_has_the_curves(make_run):
    run = make_run()
    train(run)
    events = list((run.directory / "tensorboard").glob("events.out.tfevents.*"))
    assert events and events[0].stat().st_size > 200


def test_a_run_that_goes_on_keeps_its_precision_whatever_auto_means_now(make_run, monkeypatch):
    from ignite_vision.system import device

    monkeypatch.setattr(device, "has_bf16", lambda device: True)
    first = make_run(precision="auto")
    train(first)
    monkeypatch.setattr(device, "has_bf16", lambda device: False)
    assert make_run(precision="auto", epochs=3).precision == first.precision == "bf16"
