"""Real runs on tiny data, built and trained as the command does, quietly."""

import json
import os
import signal
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from ignite.engine import Events

from ignite_vision import training
from ignite_vision.errors import Stopped
from ignite_vision.jobs import Outcome, train_and_evaluate
from ignite_vision.loading.plan import choose
from ignite_vision.models.state import tensors_and_extra
from ignite_vision.prepare import Prepared
from ignite_vision.training import fit
from ignite_vision.training.run import Run, build
from ignite_vision.training.settings import write_settings

RESULTS = ("history.jsonl", "metrics.json", "predictions.csv", "model.safetensors")


def built(prepared: Prepared) -> Run:
    """Everything made, nothing trained."""
    return build(prepared, choose(prepared))


def begun(prepared: Prepared) -> Run:
    """The same, with what is on the disk before the first epoch."""
    run = built(prepared)
    prepared.directory.path.mkdir(parents=True, exist_ok=True)
    write_settings(prepared, run.plan)
    return run


def fitted(prepared: Prepared) -> Run:
    """Train without evaluating."""
    run = begun(prepared)
    with run.directory.claimed():
        fit(run)
    return run


def train(prepared: Prepared) -> Outcome:
    """The whole command."""
    return train_and_evaluate(prepared, lambda *_: None)


class Killed(BaseException):
    """The process is gone: nothing catches this, nothing is saved."""


def kill() -> None:
    raise Killed


def stop(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def train_until(prepared: Prepared, event: Any, action: Callable[[], None] = stop, engine: str = "trainer") -> None:
    """Run the whole command; at the event, after all other handlers of it, the action ends it.

    event: of the engine, perhaps with a filter. action: `kill`, or `stop` by a signal.
    """
    restore = training.restore

    def hooked(run: Run, *others: Any) -> None:
        getattr(run, engine).add_event_handler(event, lambda: action())
        restore(run, *others)

    with patch.object(training, "restore", hooked), pytest.raises((Stopped, Killed)):
        train(prepared)


def interrupted(prepared: Prepared, at: int, number: int = signal.SIGTERM) -> int:
    """Train until iteration `at`, where a signal comes. The exit code."""
    run = begun(prepared)
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=at), stop, number)
    with pytest.raises(Stopped) as stopped, run.directory.claimed():
        fit(run)
    return stopped.value.code


def assert_same_results(one: Prepared, other: Prepared) -> None:
    """Both ended with the same bytes."""
    assert same(weights(one), weights(other))
    for name in RESULTS:
        assert (one.directory / name).read_bytes() == (other.directory / name).read_bytes(), name


def said(prepared: Prepared) -> list[str]:
    """What it has said so far; prepared: as the fixture `make_run` makes it."""
    return prepared.say.__self__


def plan_of(prepared: Prepared) -> str:
    """What held the rows of a run that was trained."""
    return json.loads(prepared.directory.settings.read_text())["cache"]["kind"]


def history(prepared: Prepared) -> list[dict]:
    return [json.loads(line) for line in prepared.directory.history.read_text().splitlines()]


def weights(prepared: Prepared) -> dict:
    tensors = tensors_and_extra(prepared.model.state_dict())[0]
    return {name: tensor.clone() for name, tensor in tensors.items()}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)
