"""A whole command's work: what it leaves, and when there is nothing left to do."""

import json

import pytest
import torch
from safetensors.torch import load_file

from ignite_vision import jobs
from ignite_vision.errors import UserError
from ignite_vision.jobs import rehearse, train_and_evaluate
from ignite_vision.models.model_file import read_header
from ignite_vision.models.state import weights_hash
from tests.helpers.runs import history, said, train


def test_settings_and_the_announcement_come_before_anything_is_computed(make_run):
    prepared = make_run()
    seen = []

    def announce(plan):
        seen.append((plan.kind, prepared.directory.exists(), prepared.directory.checkpoints.exists()))

    train_and_evaluate(prepared, announce)
    assert seen == [("resident", True, False)]


def test_results_name_the_epoch_and_the_weights_that_they_are_of(make_run):
    prepared = make_run(epochs=3)
    numbers = train(prepared).metrics
    assert numbers["epochs"] == 3
    assert numbers["epoch"] == [row["epoch"] for row in history(prepared) if row["best"]][-1]
    assert numbers["weights"] == weights_hash(load_file(prepared.directory.model))
    assert read_header(prepared.directory.model)["metrics"]["accuracy"] == numbers["accuracy"]


def test_a_finished_run_is_not_computed_again(make_run):
    train(make_run())
    again = make_run()
    outcome = train(again)
    assert (outcome.finished_before, outcome.epochs, outcome.stopped_early) == (True, 2, False)


def test_results_of_an_earlier_model_do_not_make_a_run_finished(make_run):
    prepared = make_run()
    train(prepared)
    numbers = json.loads(prepared.directory.metrics.read_text())
    for name, stale in (("epochs", 1), ("weights", "0" * 64)):
        prepared.directory.metrics.write_text(json.dumps({**numbers, name: stale}))
        assert not train(make_run()).finished_before


def test_the_model_is_published_before_the_test_split_is_looked_at(make_run, monkeypatch):
    prepared = make_run()

    def refuse(run, split):
        raise UserError("cannot read image")

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "predict_split", refuse)
        with pytest.raises(UserError, match="cannot read image"):
            train(prepared)
    assert read_header(prepared.directory.model)["metrics"]["split"] == "val"
    assert not prepared.directory.metrics.exists()
    assert not train(make_run()).finished_before


def test_a_changed_environment_is_a_warning_and_not_exact_from_then_on(make_run):
    prepared = make_run(epochs=1)
    train(prepared)
    settings = prepared.directory.read_settings()
    settings["environment"]["threads"] += 1
    prepared.directory.write_settings(settings)
    longer = make_run(epochs=2)
    assert train(longer).metrics["exact"] is False
    assert any("no longer bit-exact from here" in line and "threads" in line for line in said(longer))


def test_a_rehearsal_goes_through_and_leaves_nothing(make_run):
    prepared = make_run(epochs=50)
    plan, finding = rehearse(prepared)
    assert plan.kind == "resident"
    assert "nothing was written" in finding
    assert not prepared.directory.path.exists()
    assert torch.isfinite(next(prepared.model.parameters())).all()
