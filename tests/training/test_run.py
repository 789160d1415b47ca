"""A run is complete when it is built, and takes a handler's own state."""

import dataclasses

import pytest
from ignite.engine import Events
from torch import nn

from ignite_vision.errors import UserError
from ignite_vision.training.run import Run
from ignite_vision.training.saving import RESERVED
from tests.helpers.runs import begun, built, fitted, history, train


class Counter:
    """A handler's own state."""

    n = 0

    def state_dict(self):
        return {"n": self.n}

    def load_state_dict(self, state):
        self.n = state["n"]


def test_no_field_is_left_for_another_module_to_fill_in(make_run):
    run = built(make_run())
    fields = dataclasses.fields(Run)
    assert all(field.init for field in fields)
    optional = ("weights", "origin", "class_weights")
    assert all(getattr(run, field.name) is not None for field in fields if field.name not in optional)
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.trainer = None


def test_building_a_run_writes_nothing(make_run):
    run = built(make_run())
    assert not run.directory.path.exists()


def test_a_recipes_handlers_see_the_live_run_and_can_keep_state_in_checkpoints(make_run):
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


def test_names_that_are_the_runs_own_are_refused(make_run):
    run = begun(make_run())
    for name in RESERVED:
        with pytest.raises(ValueError, match=f"'{name}' is reserved for the run"):
            run.persist(name, Counter())
    assert run.saver.objects["model"] is run.model


def test_a_name_is_taken_once(make_run):
    run = begun(make_run())
    run.persist("ema", Counter())
    with pytest.raises(ValueError, match="'ema' is persisted already"):
        run.persist("ema", Counter())


def test_what_has_no_state_is_refused(make_run):
    with pytest.raises(ValueError, match="'mine' has no state_dict"):
        begun(make_run()).persist("mine", [1])


def test_the_network_is_the_head_alone_where_features_are_cached(make_run):
    def backbone(num_classes):
        return nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()), nn.Linear(144, num_classes))

    run = built(make_run(model=backbone, trainable="head"))
    assert run.plan.kind == "features"
    assert [type(layer).__name__ for layer in run.network] == ["Linear", "Flatten"]
    assert run.network[0] is run.model[1]


def test_fewer_images_than_passes_of_a_step_are_one_line(make_run):
    with pytest.raises(UserError, match=r"accumulate=128 needs as many training images, and there are 72") as failure:
        fitted(make_run(batch_size=128, accumulate=128))
    assert "Use --set accumulate=72 at most" in str(failure.value)


def test_as_many_images_as_passes_are_enough(make_run):
    run = fitted(make_run(batch_size=72, accumulate=72, epochs=1))
    assert run.trainer.state.iteration == 72
