"""When a run is saved, what is in it, and what is never saved."""

import collections
import dataclasses
import math

import numpy as np
import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_vision.errors import NOT_SAVED, UserError
from ignite_vision.training import fit
from ignite_vision.training.checkpoint import read_states, steps
from ignite_vision.training.saving import RESERVED, first_odd, size_of
from tests.helpers.runs import begun, fitted, history, said, train


class Holder:
    """A handler with a state."""

    def __init__(self, state):
        self.state = state

    def state_dict(self):
        return {"state": self.state}

    def load_state_dict(self, state):
        self.state = state["state"]


def keeping(state):
    def handlers(run):
        run.persist("mine", Holder(state))

    return handlers


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

    def test_a_nan_weight_is_never_saved(self, make_run):
        def handlers(run):
            @run.trainer.on(Events.EPOCH_COMPLETED(once=2))
            def spoil():
                run.save()
                with torch.no_grad():
                    run.model[0].weight[0] = math.nan

        run = make_run(handlers=handlers)
        with pytest.raises(UserError, match="the loss is not finite in iteration 8 or before"):
            train(run)
        (saved,) = steps(run.directory.checkpoints)
        assert all(tensor.isfinite().all() for tensor in read_states(saved)["model"].values())

    def test_a_nan_score_is_never_best(self, make_run):
        def handlers(run):
            @run.evaluator.on(Events.COMPLETED)
            def spoil(engine):
                if len(run.history.rows) == 0:
                    engine.state.metrics["loss"] = math.nan

        run = make_run(handlers=handlers)
        train(run)
        assert [row["best"] for row in history(run)] == [False, True]
        assert history(run)[0]["val_loss"] is None


def test_every_name_in_a_checkpoint_is_reserved(make_run):
    run = fitted(make_run(schedule="cosine", patience=3))
    (saved,) = steps(run.directory.checkpoints)
    assert set(torch.load(saved / "train.pt", weights_only=True)) | {"model"} <= set(RESERVED)


@pytest.mark.parametrize(
    ("state", "what"),
    [
        (np.zeros(2), "it holds a ndarray"),
        (np.float64(1), "it holds a float64"),
        ({"deep": [collections.deque()]}, "it holds a deque"),
        ({("key",): 1, range(3): 2}, "it holds a range"),
        (torch.zeros(1).expand(1000), r"a tensor of shape \(1000,\) claims more than it holds"),
        (math.sin, "it holds a builtin_function_or_method"),
    ],
    ids=["array", "numpy", "deque", "key", "expanded", "function"],
)
def test_a_state_that_could_not_be_read_again_is_refused_in_one_line(make_run, state, what):
    run = make_run(handlers=keeping(state))
    with pytest.raises(UserError, match=f"the state of 'mine' cannot be saved: {what}") as failure:
        train(run)
    assert "\n" not in str(failure.value)
    assert not steps(run.directory.checkpoints)


@pytest.mark.parametrize(
    "state",
    [
        collections.OrderedDict(a=[1, 2.0, None, True, "text", b"bytes", 1j]),
        collections.Counter([1, 1]),
        {1, 2},
        (torch.zeros(2), torch.Size([3]), torch.float32, torch.device("cpu"), nn.Parameter(torch.zeros(1))),
    ],
    ids=["ordered", "counter", "set", "torch"],
)
def test_what_is_not_refused_can_be_read_again(make_run, state):
    assert not first_odd(state)
    run = fitted(make_run(epochs=1, handlers=keeping(state)))
    (saved,) = steps(run.directory.checkpoints)
    found = read_states(saved)["mine"]["state"]
    assert type(found) is type(state)
    assert len(found) == len(state)


def test_a_holder_whose_state_fails_is_named(make_run):
    class Broken(Holder):
        def state_dict(self):
            raise TypeError("no state\nhere")

    def handlers(run):
        run.persist("broken", Broken(1))

    with pytest.raises(UserError, match="the state of 'broken' cannot be saved: no state here"):
        train(make_run(handlers=handlers))


def test_it_is_saved_every_so_many_iterations_if_asked(make_run):
    prepared = make_run(epochs=3)
    options = dataclasses.replace(prepared.options, checkpoint_every=3, keep_checkpoints=9)
    run = fitted(dataclasses.replace(prepared, options=options))
    assert [path.name for path in steps(run.directory.checkpoints)] == [
        "step-0000000003",
        "step-0000000004-validated",
        "step-0000000006",
        "step-0000000008-validated",
        "step-0000000009",
        "step-0000000012-validated",
    ]


def test_a_short_run_is_saved_once(make_run):
    run = fitted(make_run())
    assert [path.name for path in steps(run.directory.checkpoints)] == ["step-0000000008-validated"]
    assert run.saver.take_seconds() > 0
    assert run.saver.take_seconds() == 0


def test_a_save_that_fails_within_the_run_is_a_warning_and_the_last_an_error(make_run):
    prepared = make_run(epochs=2)
    prepared = dataclasses.replace(prepared, options=dataclasses.replace(prepared.options, checkpoint_every=4))
    run = begun(prepared)
    run.directory.checkpoints.write_text("a file is in the way")
    with pytest.raises(UserError, match="iteration 8 is not saved: File exists") as failure:
        fit(run)
    assert failure.value.code == NOT_SAVED
    assert any(line.startswith("warning: iteration 4 is not saved") for line in said(prepared))


def test_bytes_of_all_tensors_are_counted():
    assert size_of({"a": [torch.zeros(3), (torch.zeros(2, dtype=torch.float64), "text")]}) == 12 + 16


def keeping_some(run, n, every):
    """The same with other options: how many checkpoints stay, and iterations between them."""
    options = dataclasses.replace(run.options, checkpoint_every=every, keep_checkpoints=n)
    return dataclasses.replace(run, options=options)


def test_where_one_checkpoint_is_kept_the_same_step_is_saved_again_with_what_a_handler_did(make_run):
    def handlers(run):
        @run.trainer.on(Events.EPOCH_STARTED(once=3))
        def enough(trainer):
            trainer.terminate()

    run = keeping_some(make_run(handlers=handlers, epochs=5), 1, 1)
    train(run)
    assert [row["stopped"] for row in history(run)] == [False, True]


def test_fewer_checkpoints_stay_when_fewer_are_asked_for(make_run):
    train(keeping_some(make_run(epochs=2), 4, 2))
    run = keeping_some(make_run(epochs=3), 2, 2)
    assert len(steps(run.directory.checkpoints)) == 4
    train(run)
    assert len(steps(run.directory.checkpoints)) == 2
