"""Logistic regression as a training: one strength an epoch, in Ignite's engines, resumed and extended to the bit."""

import dataclasses
import json

import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_vision import Recipe
from ignite_vision.errors import UserError
from ignite_vision.testing import digits
from ignite_vision.training import fit
from ignite_vision.training.logistic import fit_path, strength_of
from ignite_vision.training.strengths import Strengths
from tests.helpers.runs import (
    assert_same_results,
    begun,
    built,
    fitted,
    history,
    kill,
    plan_of,
    said,
    same,
    train,
    train_until,
    weights,
)


def backbone(num_classes):
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        nn.Dropout(0.5),
        nn.Linear(24, num_classes),
    )


@pytest.fixture
def make_head(make_run):
    """Return a function that prepares a run of logistic regression on real digits, 18 validation images."""

    def make(**fields):
        fields = {"trainable": "head", "head": "logistic", "data_function": many_digits, "model": backbone, **fields}
        return make_run(**{"epochs": 6, **fields})

    return make


def many_digits(folder):
    return digits(folder, classes=3, per_class=30)


def all_digits(folder):
    return digits(folder, classes=10, per_class=110)  # 220 validation images


def test_an_epoch_is_one_iteration_and_one_strength(make_head):
    run = make_head()
    train(run)
    assert plan_of(run) == "features"
    assert [row["strength"] for row in history(run)] == [strength_of(epoch) for epoch in range(1, 7)]
    assert [row["iteration"] for row in history(run)] == [1, 2, 3, 4, 5, 6]
    losses = [row["train_loss"] for row in history(run)]
    assert losses == sorted(losses, reverse=True)


def test_the_layer_holds_the_solution_of_the_path(make_head):
    run = fitted(make_head(data_function=all_digits, epochs=4))
    (features, targets), *_ = run.loaders.train
    *_, (_, weight, bias) = fit_path(features, targets, 10, 4)
    assert run.model[2].weight.equal(weight) and run.model[2].bias.equal(bias)


def test_the_model_that_is_published_is_a_plain_one_and_the_rest_is_frozen(make_head):
    run = make_head()
    before = weights(run)
    outcome = train(run)
    changed = {name for name, tensor in weights(run).items() if not tensor.equal(before[name])}
    assert changed == {"2.weight", "2.bias"}
    assert outcome.metrics["accuracy"] > 0.8


def saved_often(prepared):
    return dataclasses.replace(prepared, options=dataclasses.replace(prepared.options, checkpoint_every=1))


@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED(once=3), Events.EPOCH_COMPLETED(once=4)])
@pytest.mark.parametrize("data", [many_digits, all_digits])
def test_a_killed_run_ends_with_the_same_bits(make_head, tmp_path, event, data):
    whole = make_head(out=tmp_path / "whole", data_function=data)
    train(whole)

    train_until(saved_often(make_head(out=tmp_path / "killed", data_function=data)), event, kill)
    resumed = make_head(out=tmp_path / "killed", data_function=data)
    train(resumed)
    assert any("resumed    from step" in line for line in said(resumed))
    assert_same_results(whole, resumed)


def test_a_run_ends_with_the_first_strength_that_changes_nothing_also_when_it_is_killed_there(make_head, tmp_path):
    whole = make_head(out=tmp_path / "whole", epochs=40)
    outcome = train(whole)
    rows = history(whole)
    assert outcome.stopped_early and outcome.epochs == len(rows) < 40
    assert rows[-1]["train_loss"] == rows[-2]["train_loss"] < rows[-3]["train_loss"]

    last = Events.ITERATION_COMPLETED(once=len(rows))
    train_until(saved_often(make_head(out=tmp_path / "killed", epochs=40)), last, kill)
    resumed = make_head(out=tmp_path / "killed", epochs=40)
    train(resumed)
    assert_same_results(whole, resumed)


@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED(once=3), Events.EPOCH_COMPLETED(once=4)])
def test_a_stopped_run_ends_with_the_same_bits(make_head, tmp_path, event):
    whole = make_head(out=tmp_path / "whole")
    train(whole)
    train_until(make_head(out=tmp_path / "stopped"), event)
    resumed = make_head(out=tmp_path / "stopped")
    train(resumed)
    assert_same_results(whole, resumed)


def test_a_run_that_is_extended_goes_to_weaker_strengths_exactly(make_head, tmp_path):
    long = make_head(out=tmp_path / "long", epochs=8)
    train(long)
    train(make_head(out=tmp_path / "short", epochs=5))
    extended = make_head(out=tmp_path / "short", epochs=8)
    train(extended)
    assert history(extended) == history(long)
    assert same(weights(extended), weights(long))
    assert json.loads(extended.directory.metrics.read_text())["exact"]


def test_features_that_are_cached_give_the_bits_of_those_just_computed(make_head, tmp_path):
    first, again = make_head(out=tmp_path / "first"), make_head(out=tmp_path / "again", seed=0, workers=2)
    train(first)
    train(again)
    assert_same_results(first, again)


def test_few_validation_images_are_joined_by_those_of_training_to_judge(make_head):
    run = make_head()
    train(run)
    rows = history(run)
    n = len(run.splits.train) + len(run.splits.val)
    assert all(round(row["cv_accuracy"] * n) == pytest.approx(row["cv_accuracy"] * n) for row in rows)
    best = [row for row in rows if row["best"]][-1]
    assert best["cv_accuracy"] == max(row["cv_accuracy"] for row in rows)


def test_cross_validation_is_by_the_recipes_score(make_head):
    run = make_head(score="macro_f1")
    train(run)
    assert all(0 <= row["cv_macro_f1"] <= 1 and 0 <= row["val_macro_f1"] <= 1 for row in history(run))


def test_what_is_held_out_is_judged_by_heads_that_never_saw_it(make_head):
    run = built(make_head())
    solver = run.optimizer
    assert isinstance(solver, Strengths) and solver.few
    row = torch.arange(len(solver.targets))
    assert not solver.used[1 + solver.folds, row].any()
    assert solver.used[1:].sum(0).eq(4).all()
    assert solver.used[0].sum() == len(run.splits.train)


def test_many_validation_images_judge_alone(make_head):
    run = make_head(data_function=all_digits)
    train(run)
    assert "cv_accuracy" not in history(run)[0]
    best = [row for row in history(run) if row["best"]][-1]
    assert best["val_accuracy"] == max(row["val_accuracy"] for row in history(run))


def test_patience_ends_the_path(make_head):
    run = make_head(epochs=30, patience=2)
    train(run)
    assert len(history(run)) < 30 and history(run)[-1]["stopped"]


def test_ignites_metrics_and_a_recipes_handlers_attach_as_ever(make_head):
    from ignite.metrics import Accuracy

    def handlers(run):
        Accuracy().attach(run.trainer, "accuracy")

        @run.trainer.on(Events.EPOCH_COMPLETED)
        def record(trainer):
            run.history.record("mine", trainer.state.metrics["accuracy"])

    run = make_head(handlers=handlers)
    train(run)
    assert all(row["mine"] == row["train_accuracy"] for row in history(run))


def test_features_that_are_not_finite_are_one_line(make_head):
    run = begun(make_head())
    run.rows["train"].source.rows[3] = torch.nan
    with pytest.raises(UserError, match="features of 1 of 72 images are not finite"), run.directory.claimed():
        fit(run)


def test_a_recipe_that_asks_for_the_optimizer_has_it(make_head):
    run = built(make_head(head="optimizer"))
    assert type(run.optimizer).__name__ == "Adam"
    assert Recipe(data=digits, model="digits_cnn", epochs=1).head == "optimizer"
