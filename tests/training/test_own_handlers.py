"""A recipe's own handlers fire as if nothing had happened, and its metrics count every image, when a run resumes."""

import collections
import time

import pytest
import torch
from ignite.engine import Events
from ignite.metrics import (
    Accuracy,
    CohenKappa,
    ConfusionMatrix,
    EpochMetric,
    Fbeta,
    IoU,
    Loss,
    MetricGroup,
    Precision,
    Recall,
    RunningAverage,
    TopKCategoricalAccuracy,
)
from ignite.metrics.metric import BatchFiltered, RunningEpochWise
from torch import nn

from ignite_vision.errors import UserError
from ignite_vision.system import signals
from ignite_vision.training.own_handlers import MetricStates
from tests.helpers.runs import (
    assert_same_results,
    history,
    interrupted,
    kill,
    said,
    stop,
    train,
    train_until,
)


class KeepsADeque(Accuracy):
    """Counts in what no checkpoint can hold."""

    def reset(self):
        super().reset()
        self.seen = collections.deque()

    def update(self, output):
        super().update(output)
        self.seen.append(output[1].sum().item())

    def compute(self):
        return sum(self.seen)


class BecomesOdd(Accuracy):
    """Looks plain until it has counted."""

    def update(self, output):
        super().update(output)
        self.seen = range(3)


def labels(output):
    return output["y_pred"].argmax(1), output["y"]


def share_right(logits, targets):
    return (logits.argmax(1) == targets).double().mean().item()


def average_of(metric):
    average = RunningAverage(metric)
    average.required_output_keys = ("y_pred", "y")  # Ignite's RunningAverage takes no dict otherwise
    return average


METRICS = {
    "as documented": lambda trainer: Accuracy().attach(trainer, "m"),
    "RunningAverage": lambda trainer: RunningAverage(output_transform=lambda o: o["loss"]).attach(trainer, "m"),
    "RunningAverage of a metric": lambda trainer: average_of(Accuracy()).attach(trainer, "m"),
    "RunningAverage over epochs": lambda trainer: average_of(Accuracy()).attach(trainer, "m", RunningEpochWise()),
    "MetricsLambda": lambda trainer: (
        (Precision(average=False) * Recall(average=False) * 2.0).mean().attach(trainer, "m")
    ),
    "Fbeta": lambda trainer: Fbeta(1).attach(trainer, "m"),
    "EpochMetric": lambda trainer: EpochMetric(share_right).attach(trainer, "m"),
    "ConfusionMatrix": lambda trainer: ConfusionMatrix(3).attach(trainer, "m"),
    "IoU": lambda trainer: IoU(ConfusionMatrix(3)).attach(trainer, "m"),
    "CohenKappa": lambda trainer: CohenKappa(labels).attach(trainer, "m"),
    "filtered": lambda trainer: Accuracy().attach(trainer, "m", BatchFiltered(every=3)),
    "TopK": lambda trainer: TopKCategoricalAccuracy(2).attach(trainer, "m"),
    "group": lambda trainer: MetricGroup({"m": Accuracy(), "loss": Loss(nn.functional.cross_entropy)}).attach(
        trainer, "group"
    ),
    "not plain": lambda trainer: KeepsADeque().attach(trainer, "m"),
}


def recording(attach):
    """Handlers that attach a metric and record the sum of what it gives."""

    def handlers(run):
        attach(run.trainer)

        @run.trainer.on(Events.EPOCH_COMPLETED)
        def record():
            run.history.record("m", torch.as_tensor(run.trainer.state.metrics["m"]).double().sum())

    return handlers


@pytest.mark.parametrize("at", [pytest.param(4, marks=pytest.mark.slow), 7])
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_gives_the_numbers_of_an_uninterrupted_run(make_run, tmp_path, name, at):
    fields = {"epochs": 3, "handlers": recording(METRICS[name])}
    whole = make_run(out=tmp_path / "whole", **fields)
    train(whole)
    assert interrupted(make_run(out=tmp_path / "parts", **fields), at) == 75
    parts = make_run(out=tmp_path / "parts", **fields)
    train(parts)
    assert history(whole)[0]["m"] != 0
    assert_same_results(whole, parts)


def test_a_metric_that_cannot_be_saved_is_said_and_the_run_resumes_from_an_epochs_end(make_run):
    fields = {"epochs": 3, "handlers": recording(METRICS["not plain"])}
    first = make_run(**fields)
    train_until(first, Events.ITERATION_COMPLETED(once=6))
    assert any(
        line.startswith("warning: the state of KeepsADeque.seen: it holds a deque cannot be saved")
        for line in said(first)
    )
    again = make_run(**fields)
    train(again)
    assert not any(line.startswith("resumed    from step 6") for line in said(again))


def test_one_that_spans_epochs_too_is_refused(make_run):
    def handlers(run):
        KeepsADeque().attach(run.trainer, "m", RunningEpochWise())

    with pytest.raises(UserError, match="the state of KeepsADeque.seen: it holds a deque cannot be saved, and spans"):
        train(make_run(handlers=handlers))


def test_a_state_that_becomes_odd_later_is_one_line_when_it_is_saved(make_run):
    def handlers(run):
        BecomesOdd().attach(run.trainer, "m")

    with pytest.raises(UserError, match="the state of 'metrics' cannot be saved: BecomesOdd.seen: it holds a range"):
        train(make_run(handlers=handlers))


def test_metrics_of_another_number_of_processes_begin_again():
    metric = Accuracy()
    metric.update((torch.eye(2), torch.tensor([0, 1])))
    states = MetricStates([metric])
    part = states.state_dict()["processes"][0]
    metric.reset()
    states.load_state_dict({"processes": [part, part]})
    assert metric._num_examples == 0
    states.load_state_dict({"processes": [part]})
    assert metric.compute() == 1.0


HALVED = {
    "plain": Events.EPOCH_STARTED,
    "every": Events.EPOCH_STARTED(every=2),
    "once": Events.EPOCH_STARTED(once=2),
    "filter": Events.EPOCH_STARTED(event_filter=lambda _, epoch: epoch > 1),
    "two events": Events.EPOCH_STARTED | Events.EPOCH_COMPLETED,
}


def halving(event):
    """Handlers that halve the rate, and attach another handler when the trainer starts."""

    def handlers(run):
        @run.trainer.on(event)
        def halve():
            for group in run.optimizer.param_groups:
                group["lr"] /= 2

        @run.trainer.on(Events.STARTED)
        def attach_more():
            @run.trainer.on(Events.EPOCH_STARTED)
            def record():
                run.history.record("begun", 1)

    return handlers


@pytest.mark.parametrize("at", [pytest.param(4, marks=pytest.mark.slow), 7])
@pytest.mark.parametrize("name", HALVED)
def test_a_rate_that_is_halved_at_an_epochs_start_is_halved_once(make_run, tmp_path, name, at):
    fields = {"epochs": 3, "handlers": halving(HALVED[name])}
    whole = make_run(out=tmp_path / "whole", **fields)
    train(whole)
    interrupted(make_run(out=tmp_path / "parts", **fields), at)
    parts = make_run(out=tmp_path / "parts", **fields)
    train(parts)
    assert_same_results(whole, parts)


def test_a_stop_while_the_first_batch_of_an_epoch_is_waited_for_starts_the_epoch_once(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "PATIENCE", 0.1)
    fields = {"epochs": 3, "handlers": halving(Events.EPOCH_STARTED)}
    whole = make_run(out=tmp_path / "whole", **fields)
    train(whole)

    def hang():
        stop()
        time.sleep(60)

    # fired when the first batch of epoch 2 is asked for
    train_until(make_run(out=tmp_path / "parts", **fields), Events.DATALOADER_STOP_ITERATION, hang)
    parts = make_run(out=tmp_path / "parts", **fields)
    train(parts)
    assert "resumed    from step 4, in epoch 1 of 3" in said(parts)
    assert_same_results(whole, parts)


def terminating(event):
    """Handlers that end the training at an event."""

    def handlers(run):
        run.trainer.add_event_handler(event, run.trainer.terminate)

    return handlers


ENDS = {  # 4 iterations an epoch; the second value: where the process is ended, after the handler above
    "at the end of an epoch": (Events.EPOCH_COMPLETED(once=2), Events.ITERATION_COMPLETED(once=8)),
    "at the end of the first": (Events.EPOCH_COMPLETED(once=1), Events.ITERATION_COMPLETED(once=4)),
    "within an epoch": (Events.ITERATION_COMPLETED(once=6), Events.ITERATION_COMPLETED(once=6)),
    "within the first": (Events.ITERATION_COMPLETED(once=2), Events.ITERATION_COMPLETED(once=2)),
    "in the last iteration": (Events.ITERATION_COMPLETED(once=8), Events.ITERATION_COMPLETED(once=8)),
    "before a step": (Events.ITERATION_STARTED(once=6), Events.ITERATION_STARTED(once=6)),
    "before an epoch's first": (Events.ITERATION_STARTED(once=9), Events.ITERATION_STARTED(once=9)),
    "at the start of an epoch": (Events.EPOCH_STARTED(once=3), Events.ITERATION_COMPLETED(once=8)),
}


@pytest.mark.parametrize("name", ENDS)
class TestTerminate:
    def test_the_run_is_finished_and_a_repetition_changes_nothing(self, make_run, name):
        fields = {"epochs": 5, "handlers": terminating(ENDS[name][0])}
        run = make_run(**fields)
        train(run)
        assert [row["stopped"] for row in history(run)] in ([True], [False, True])
        before = {path: path.read_bytes() for path in run.directory.path.iterdir() if path.is_file()}
        assert train(make_run(**fields)).finished_before
        assert {path: path.read_bytes() for path in run.directory.path.iterdir() if path.is_file()} == before

    @pytest.mark.parametrize("action", [pytest.param(kill, marks=pytest.mark.slow), stop])
    def test_a_run_that_is_ended_there_too_ends_as_one_that_was_not(self, make_run, tmp_path, name, action):
        fields = {"epochs": 5, "handlers": terminating(ENDS[name][0])}
        whole = make_run(out=tmp_path / "whole", **fields)
        train(whole)
        train_until(make_run(out=tmp_path / "parts", **fields), ENDS[name][1], action)
        parts = make_run(out=tmp_path / "parts", **fields)
        train(parts)
        assert_same_results(whole, parts)


@pytest.mark.parametrize("at", [1, 6, 8])
@pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_signal_during_the_validation_of_a_terminated_epoch_is_heeded(make_run, tmp_path, at, accumulate):
    fields = {"epochs": 5, "accumulate": accumulate, "handlers": terminating(Events.ITERATION_COMPLETED(once=at))}
    whole = make_run(out=tmp_path / "whole", **fields)
    train(whole)

    def stop_in_the_last():
        if len(parts.directory.history.read_text().splitlines() if parts.directory.history.exists() else []) == last:
            stop()

    last = len(history(whole)) - 1
    parts = make_run(out=tmp_path / "parts", **fields)
    train_until(parts, Events.STARTED, stop_in_the_last, engine="evaluator")
    parts = make_run(out=tmp_path / "parts", **fields)
    train(parts)
    assert_same_results(whole, parts)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("at", [6, 8])
def test_terminate_epoch_is_refused(make_run, skip, at):
    def handlers(run):
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=at), lambda: run.trainer.terminate_epoch(skip))

    with pytest.raises(UserError, match=r"ended an epoch early with terminate_epoch\(\). Use trainer.terminate\(\)"):
        train(make_run(epochs=5, handlers=handlers))
