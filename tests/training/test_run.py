"""A run is complete when it exists, and keeps what its handlers hand it."""

import dataclasses

import pytest
from ignite.engine import Events
from torch import nn

from ignite_vision.training.saving import RESERVED
from tests.helpers.runs import built, history, train


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


@pytest.mark.parametrize("name", RESERVED)
def test_a_name_of_the_runs_own_cannot_be_persisted(make_run, name):
    run = built(make_run())
    with pytest.raises(ValueError, match="reserved for the run"):
        run.persist(name, run.model)


def test_a_name_can_be_persisted_once_and_only_with_a_state(make_run):
    run = built(make_run())
    run.persist("average", nn.Linear(1, 1))
    with pytest.raises(ValueError, match="already"):
        run.persist("average", nn.Linear(1, 1))
    with pytest.raises(ValueError, match="state_dict"):
        run.persist("number", 3)


def test_no_field_of_a_run_is_filled_in_later(make_run):
    run = built(make_run())
    for field in dataclasses.fields(run):
        assert field.init
        assert hasattr(run, field.name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.plan = None
