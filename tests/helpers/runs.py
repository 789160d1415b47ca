"""Real runs on tiny data, built and trained as the command does, quietly."""

import json

from ignite_vision.jobs import Outcome, train_and_evaluate
from ignite_vision.loading.plan import choose
from ignite_vision.prepare import Prepared
from ignite_vision.training import fit
from ignite_vision.training.run import Run, build
from ignite_vision.training.settings import write_settings


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
    return train_and_evaluate(prepared, lambda plan: None)


def said(prepared: Prepared) -> list[str]:
    """What it has said so far; prepared: as the fixture `make_run` makes it."""
    return prepared.say.__self__


def plan_of(prepared: Prepared) -> str:
    """What held the rows of a run that was trained."""
    return json.loads(prepared.directory.settings.read_text())["cache"]["kind"]


def history(prepared: Prepared) -> list[dict]:
    return [json.loads(line) for line in prepared.directory.history.read_text().splitlines()]


def weights(prepared: Prepared) -> dict:
    return {name: tensor.clone() for name, tensor in prepared.model.state_dict().items()}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)
