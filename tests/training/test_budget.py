"""A time budget."""

import dataclasses
import json
import time

import pytest
import torch
from ignite.engine import Engine, Events

from ignite_vision.errors import UserError
from ignite_vision.loading.plan import Rows, choose
from ignite_vision.training.budget import (
    Pace,
    as_planned,
    evaluation_batches,
    in_words,
    measure,
    planned_epochs,
    seconds_each,
    within_budget,
)
from tests.helpers.runs import assert_same_results, history, said, stop, train, train_until, weights


def within(prepared, seconds, spent=0.0):
    """The same with a budget, of which some is spent."""
    options = dataclasses.replace(prepared.options, budget=seconds, began=time.monotonic() - spent)
    return dataclasses.replace(prepared, options=options)


def test_as_many_epochs_are_planned_as_fit_beside_the_evaluation(make_run):
    run = within(make_run(epochs=1000), 101.0)
    pace = Pace(step=0.0, steps=1, evaluation=1.0)
    batches = [evaluation_batches(run, len(run.splits[name])) for name in ("val", "test")]
    left = 101.0 - batches[1] * pace.evaluation - 1.0
    assert planned_epochs(run, pace) == int(left * 0.95 / (batches[0] * pace.evaluation))
    assert "of 1000 epochs" in said(run)[-1]


def test_never_more_epochs_are_planned_than_the_recipe_has(make_run):
    run = within(make_run(epochs=3), 3600.0)
    assert planned_epochs(run, Pace(0.001, 5, 0.001)) == 3
    assert "all 3 epochs" in said(run)[-1]


def test_a_budget_into_which_no_epoch_fits_is_refused_with_one_that_does(make_run):
    run = within(make_run(epochs=3), 60.0, spent=50.0)
    with pytest.raises(UserError, match=r"--time 1m is too short: it takes about .* with one epoch") as error:
        planned_epochs(run, Pace(100.0, 5, 1.0))
    assert error.value.next_step.startswith("Use --time ")


def test_a_budget_that_the_images_alone_exceed_is_refused_before_they_are_all_read(make_run):
    run = within(make_run(epochs=3), 1.0, spent=100.0)
    plan = choose(run)
    rows = Rows(run, plan)
    with pytest.raises(UserError, match="before the first epoch"):
        within_budget(run, plan, rows)


def test_measuring_changes_nothing_of_the_run(make_run, tmp_path):
    plain, measured = make_run(epochs=2), make_run(epochs=2, out=tmp_path / "measured")
    plan = choose(measured)
    pace = measure(measured, plan, Rows(measured, plan))
    assert pace.step > 0
    assert pace.evaluation > 0
    train(plain)
    train(measured)
    assert_same_results(plain, measured)


def test_the_first_iteration_is_not_counted():
    slow_start = Engine(lambda engine, _: time.sleep(0.2 if engine.state.iteration == 1 else 0.01))
    each = seconds_each(slow_start, [0] * 8, torch.device("cpu"), 0.05)  # type: ignore[arg-type]
    assert each < 0.1


def test_a_stopped_run_keeps_the_epochs_that_were_planned(make_run):
    planned = within(make_run(epochs=4), 3600.0)
    train_until(planned, Events.EPOCH_COMPLETED(once=2), stop)
    settings = planned.directory.read_settings()
    assert settings["time"] == {"seconds": 3600.0, "epochs": 4}
    slower = json.loads(planned.directory.settings.read_text())
    slower["time"]["epochs"] = 3  # as if it had been planned so
    slower["recipe"]["epochs"] = 3
    planned.directory.write_settings(slower)
    again = as_planned(within(make_run(epochs=4), 3600.0))
    assert (again.recipe.epochs, again.overrides["epochs"]) == (3, "3")
    assert again.options.budget is None


def test_a_run_within_a_budget_is_the_run_of_that_many_epochs(make_run, tmp_path):
    budgeted, plain = within(make_run(epochs=2, out=tmp_path / "budgeted"), 3600.0), make_run(epochs=2)
    train(budgeted)
    train(plain)
    assert history(budgeted) == history(plain)
    assert all(weights(budgeted)[name].equal(tensor) for name, tensor in weights(plain).items())


def test_another_budget_for_a_planned_run_is_refused(make_run):
    train(within(make_run(epochs=2), 3600.0))
    with pytest.raises(UserError, match=r"this run was planned for 1h: 2 epochs"):
        as_planned(within(make_run(epochs=2), 60.0))


def test_a_budget_for_a_run_that_began_without_is_refused(make_run):
    train(make_run(epochs=1))
    with pytest.raises(UserError, match="began without --time"):
        as_planned(within(make_run(epochs=1), 60.0))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0.4s"), (9, "9s"), (9.97, "10s"), (59.7, "1m"), (61, "1m01s"), (600, "10m"), (3600, "1h"), (3900, "1h05m")],
)
def test_times_read_as_people_write_them(seconds, words):
    assert in_words(seconds) == words


def test_measuring_leaves_the_recipes_own_loss_as_it_was(make_run):
    class Counting(torch.nn.Module):
        calls = 0

        def forward(self, logits, targets):
            self.calls += 1
            return torch.nn.functional.cross_entropy(logits, targets)

    run = make_run(loss=Counting())
    plan = choose(run)
    measure(run, plan, Rows(run, plan))
    assert run.recipe.loss.calls == 0


def test_an_epoch_of_logistic_regression_is_one_iteration(make_run):
    run = make_run(model=linear, trainable="head", head="logistic", batch_size=16)
    plan = choose(run)
    assert plan.head == "logistic"
    assert measure(run, plan, Rows(run, plan)).steps == 1


def linear(num_classes):
    """A frozen convolution and a linear head."""
    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, num_classes))
