"""When a run is saved, and what never is."""

import dataclasses
import math

import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_vision.errors import UserError
from ignite_vision.training.checkpoint import steps
from tests.helpers.runs import begun, fitted, history, train


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


def test_what_a_checkpoint_could_not_give_back_is_one_line(make_run):
    class Odd:
        def state_dict(self):
            return {"when": slice(1, 2)}

        def load_state_dict(self, state):
            raise AssertionError

    def handlers(run):
        run.persist("odd", Odd())

    with pytest.raises(UserError, match="odd"):
        train(make_run(handlers=handlers))


def test_a_save_takes_its_seconds_off_the_next_rows(make_run):
    run = begun(make_run())
    run.saver._seconds = 1.5
    assert (run.saver.take_seconds(), run.saver.take_seconds()) == (1.5, 0.0)


def test_every_iteration_is_saved_where_that_is_asked_for(make_run):
    prepared = make_run(epochs=1)
    prepared = dataclasses.replace(prepared, options=dataclasses.replace(prepared.options, checkpoint_every=1))
    names = set()

    def handlers(run):
        @run.trainer.on(Events.GET_BATCH_STARTED)
        def look():
            names.update(path.name for path in steps(run.directory.checkpoints))

    recipe = dataclasses.replace(prepared.recipe, handlers=handlers)
    fitted(dataclasses.replace(prepared, recipe=recipe))
    assert {"step-0000000001", "step-0000000002", "step-0000000003"} <= names
