"""What ends a training before its last epoch: signals and handlers."""

import itertools
import os
import signal

import pytest
from ignite.engine import Events
from ignite.handlers import EarlyStopping

from ignite_vision.errors import Stopped, UserError
from ignite_vision.loading.workers import WorkerKilled
from ignite_vision.training import fit
from ignite_vision.training.checkpoint import steps
from tests.helpers.runs import (
    assert_same_results,
    begun,
    history,
    interrupted,
    stop,
    train,
    train_until,
)


def test_ctrl_c_is_130_and_other_signals_are_75(make_run, tmp_path):
    assert interrupted(make_run(out=tmp_path / "one"), 2, signal.SIGINT) == 130
    assert interrupted(make_run(out=tmp_path / "two"), 2, signal.SIGTERM) == 75


def test_a_stop_says_what_was_saved_and_how_to_resume(make_run):
    run = begun(make_run())
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: stop())
    with pytest.raises(Stopped) as stopped:
        fit(run)
    expected = f"stopped by SIGTERM after iteration 3, saved. Resume with: ignite-vision resume {run.directory}"
    assert stopped.value.what == expected
    assert [path.name for path in steps(run.directory.checkpoints)] == ["step-0000000003"]


def test_half_an_optimizer_step_is_never_saved(make_run):
    run = begun(make_run(accumulate=2))

    @run.evaluator.on(Events.STARTED)
    def stop_in_validation():
        run.trainer.state.iteration -= 1  # as if the last pass of the step were still to come
        stop()

    with pytest.raises(Stopped, match="in the middle of an optimizer step"):
        fit(run)
    assert not steps(run.directory.checkpoints)


def test_a_signal_in_an_accumulated_step_waits_for_its_end(make_run, tmp_path):
    fields = {"accumulate": 2, "epochs": 3}
    whole = make_run(out=tmp_path / "whole", **fields)
    train(whole)
    assert interrupted(make_run(out=tmp_path / "parts", **fields), 3) == 75
    (saved,) = steps(tmp_path / "parts" / "checkpoints")
    assert saved.name == "step-0000000004"
    parts = make_run(out=tmp_path / "parts", **fields)
    train(parts)
    assert_same_results(whole, parts)


def validating_once_more(run):
    """Handlers that run the evaluator themselves and then halve the rate; a signal comes in the middle of that."""
    here = []

    @run.evaluator.on(Events.ITERATION_COMPLETED)
    def stop_here():
        if here and run.trainer.state.epoch == 2 and "STOP" in os.environ:
            stop()

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def halve():
        here.append(1)
        run.evaluator.run(run.loaders.val)
        here.clear()
        for group in run.optimizer.param_groups:
            group["lr"] /= 2


def test_a_signal_while_a_handler_runs_the_evaluator_lets_the_handler_end(make_run, tmp_path, monkeypatch):
    fields = {"epochs": 4, "handlers": validating_once_more}
    whole = make_run(out=tmp_path / "whole", **fields)
    train(whole)
    monkeypatch.setenv("STOP", "1")
    with pytest.raises(Stopped):
        train(make_run(out=tmp_path / "parts", **fields))
    monkeypatch.delenv("STOP")
    parts = make_run(out=tmp_path / "parts", **fields)
    train(parts)
    assert [row["lr"] for row in history(parts)] == [0.001, 0.0005, 0.00025, 0.000125]
    assert_same_results(whole, parts)


@pytest.mark.parametrize("event", [Events.STARTED, Events.ITERATION_COMPLETED])
def test_a_signal_during_validation_leaves_it_and_it_is_done_again(make_run, tmp_path, event):
    whole = make_run(out=tmp_path / "whole", epochs=3)
    train(whole)
    count = itertools.count(1)
    train_until(make_run(out=tmp_path / "parts", epochs=3), event, lambda: next(count) == 2 and stop(), "evaluator")
    parts = make_run(out=tmp_path / "parts", epochs=3)
    train(parts)
    assert_same_results(whole, parts)


def test_what_is_done_is_saved_when_a_worker_is_gone(make_run, tmp_path):
    def lose_a_worker():
        raise WorkerKilled

    whole = make_run(out=tmp_path / "whole")
    train(whole)
    run = begun(make_run(out=tmp_path / "parts"))
    run.trainer.add_event_handler(Events.GET_BATCH_STARTED(event_filter=lambda _, n: n == 5), lose_a_worker)
    with pytest.raises(WorkerKilled):
        fit(run)
    assert [path.name for path in steps(run.directory.checkpoints)] == ["step-0000000005"]
    parts = make_run(out=tmp_path / "parts")
    train(parts)
    assert_same_results(whole, parts)


def test_a_worker_that_is_lost_after_the_validation_of_an_epoch_costs_that_epochs_end(make_run, tmp_path):
    def handlers(run):
        @run.trainer.on(Events.EPOCH_COMPLETED)
        def halve():
            for group in run.optimizer.param_groups:
                group["lr"] /= 2
            if run.trainer.state.epoch == 2 and "LOSE" in os.environ:
                raise WorkerKilled

    os.environ["LOSE"] = "1"
    try:
        with pytest.raises(WorkerKilled):
            train(make_run(out=tmp_path / "parts", handlers=handlers))
    finally:
        del os.environ["LOSE"]
    assert not steps(tmp_path / "parts" / "checkpoints")
    parts, whole = (make_run(out=tmp_path / name, handlers=handlers) for name in ("parts", "whole"))
    train(whole)
    train(parts)
    assert_same_results(whole, parts)


class TestEndEarly:
    def test_ignites_early_stopping_ends_a_run_for_good(self, make_run):
        def handlers(run):
            stopping = EarlyStopping(1, lambda engine: -engine.state.metrics["loss"], run.trainer, threshold=10.0)
            run.evaluator.add_event_handler(Events.COMPLETED, stopping)
            run.persist("stopping", stopping)

        run = make_run(epochs=9, handlers=handlers)
        train(run)
        assert [row["stopped"] for row in history(run)] == [False, True]
        assert train(make_run(epochs=9, handlers=handlers)).finished_before

    @pytest.mark.parametrize(
        "event",
        [Events.STARTED, Events.EPOCH_STARTED, Events.GET_BATCH_STARTED, Events.ITERATION_STARTED],
        ids=lambda event: event.name,
    )
    def test_before_the_first_iteration_there_is_nothing_to_publish(self, make_run, event):
        def handlers(run):
            run.trainer.add_event_handler(event, run.trainer.terminate)

        for _ in range(2):
            run = make_run(handlers=handlers)
            with pytest.raises(UserError, match="a handler ended the training before its first iteration"):
                train(run)
            assert not run.directory.model.exists()

    def test_an_interrupted_trainer_publishes_nothing(self, make_run):
        def handlers(run):
            run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=6), run.trainer.interrupt)

        run = make_run(handlers=handlers)
        with pytest.raises(UserError, match=r"with trainer.interrupt\(\).*End a training with trainer.terminate\(\)"):
            train(run)
        assert not run.directory.model.exists()
