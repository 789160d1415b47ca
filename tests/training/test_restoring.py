"""A run resumes from its newest good checkpoint, for more epochs as well."""

import os
import signal

import pytest
import torch
from ignite.engine import Events
from torch import nn

from ignite_vision.augment import RandomHorizontalFlip
from ignite_vision.errors import DAMAGED, Stopped, UserError
from ignite_vision.training import fit
from tests.helpers.runs import assert_same_results, begun, built, history, interrupted, same, train, weights


class TestResume:
    def interrupt(self, make_run, at, number=signal.SIGTERM, **fields):
        """Train until iteration `at`, where a signal comes."""
        run = begun(make_run(**fields))

        @run.trainer.on(Events.ITERATION_COMPLETED(once=at))
        def stop():
            os.kill(os.getpid(), number)

        with pytest.raises(Stopped) as stopped, run.directory.claimed():
            fit(run)
        return stopped.value.code

    @pytest.mark.parametrize("at", [1, 3, 4, 6, 8, 11])
    def test_a_run_stopped_anywhere_ends_with_the_weights_of_one_that_never_was(self, make_run, tmp_path, at):
        fields = {"epochs": 3, "augment": (RandomHorizontalFlip(),), "schedule": "cosine", "patience": 2}
        whole = make_run(out=tmp_path / "whole", **fields)
        train(whole)
        assert self.interrupt(make_run, at, out=tmp_path / "parts", **fields) == 75
        parts = make_run(out=tmp_path / "parts", **fields)
        train(parts)
        assert same(weights(whole), weights(parts))
        for file in ("history.jsonl", "metrics.json", "predictions.csv", "model.safetensors"):
            assert (whole.directory / file).read_bytes() == (parts.directory / file).read_bytes()

    def test_ctrl_c_is_130(self, make_run):
        assert self.interrupt(make_run, 2, signal.SIGINT) == 130

    def test_a_finished_run_does_not_train_again(self, make_run):
        run = make_run()
        train(run)
        again = built(make_run())
        fit(again)
        assert again.trainer.state.iteration == history(run)[-1]["iteration"] == 8
        assert again.history.is_finished(2)

    def test_more_epochs_go_on_from_the_last(self, make_run):
        train(make_run(epochs=1))
        run = make_run(epochs=3)
        train(run)
        assert [row["epoch"] for row in history(run)] == [1, 2, 3]
        assert run.directory.read_settings()["recipe"]["epochs"] == 3

    def test_a_changed_recipe_is_refused_field_by_field(self, make_run):
        train(make_run())
        with pytest.raises(UserError, match=r"lr: 0.001 -> 0.01, batch_size: 16 -> 8"):
            train(make_run(lr=0.01, batch_size=8))


def test_a_run_that_goes_on_keeps_its_precision_whatever_auto_means_now(make_run, monkeypatch):
    from ignite_vision.system import device

    monkeypatch.setattr(device, "has_bf16", lambda device: True)
    first = make_run(precision="auto")
    train(first)
    monkeypatch.setattr(device, "has_bf16", lambda device: False)
    assert make_run(precision="auto", epochs=3).precision == first.precision == "bf16"


class Tied(nn.Module):
    """One layer under two names, a mask of -inf, and state that is no tensor."""

    def __init__(self, num_classes):
        super().__init__()
        self.below, self.head = nn.Linear(64, 64), nn.Linear(64, num_classes)
        self.again = self.below
        self.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))
        self.calls = 0

    def forward(self, images):
        self.calls += self.training
        return self.head(self.again(self.below(images.flatten(1)).relu()).relu())

    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]


@pytest.mark.parametrize("at", [3, 6])
def test_shared_layers_masks_and_extra_state_train_stop_and_resume(make_run, tmp_path, at):
    whole = make_run(out=tmp_path / "whole", model=Tied)
    train(whole)
    interrupted(make_run(out=tmp_path / "parts", model=Tied), at)
    parts = make_run(out=tmp_path / "parts", model=Tied)
    train(parts)
    assert_same_results(whole, parts)


def test_a_history_that_lacks_epochs_is_said_and_not_continued(make_run):
    interrupted(make_run(epochs=3), 9)
    prepared = make_run(epochs=3)
    lines = prepared.directory.history.read_text().splitlines(keepends=True)
    prepared.directory.history.write_text("".join(lines[1:]))
    with pytest.raises(UserError, match="lacks epochs") as failure:
        train(prepared)
    assert failure.value.code == DAMAGED
