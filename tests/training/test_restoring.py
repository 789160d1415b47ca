"""A run that is taken up again ends as one that nothing happened to; a longer one as its schedule says."""

import shutil

import pytest
import torch
from ignite.engine import Events
from ignite.handlers import PiecewiseLinear, create_lr_scheduler_with_warmup
from torch.optim import lr_scheduler

from ignite_vision.augment import RandomHorizontalFlip
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.training import fit
from ignite_vision.training.checkpoint import steps
from tests.helpers.runs import (
    assert_same_results,
    built,
    fitted,
    history,
    interrupted,
    kill,
    said,
    train,
    train_until,
)


@pytest.mark.parametrize("at", [1, 3, 4, 6, 8, 11])
def test_a_run_stopped_anywhere_ends_with_the_weights_of_one_that_never_was(make_run, tmp_path, at):
    fields = {"epochs": 3, "augment": (RandomHorizontalFlip(),), "schedule": "cosine", "patience": 2}
    whole = make_run(out=tmp_path / "whole", **fields)
    train(whole)
    assert interrupted(make_run(out=tmp_path / "parts", **fields), at) == 75
    parts = make_run(out=tmp_path / "parts", **fields)
    train(parts)
    assert_same_results(whole, parts)


def test_a_finished_run_does_not_train_again(make_run):
    run = make_run()
    train(run)
    again = built(make_run())
    fit(again)
    assert again.trainer.state.iteration == history(run)[-1]["iteration"] == 8
    assert again.history.is_finished(2)


def test_the_epoch_that_is_said_is_the_one_that_resumes(make_run):
    interrupted(make_run(epochs=3), 6)
    run = make_run(epochs=3)
    train(run)
    assert "resumed    from step 6, in epoch 2 of 3" in said(run)


def test_a_changed_recipe_is_refused_field_by_field(make_run):
    train(make_run())
    with pytest.raises(UserError, match=r"lr: 0.001 -> 0.01, batch_size: 16 -> 8"):
        train(make_run(lr=0.01, batch_size=8))


def test_a_handler_that_is_gone_is_named(make_run):
    class Counter:
        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    kept = [True]

    def handlers(run):
        if kept:
            run.persist("counter", Counter())

    fitted(make_run(handlers=handlers))
    run = built(make_run(handlers=handlers))
    kept.clear()
    with pytest.raises(UserError, match="the checkpoint and the recipe's handlers differ in counter"):
        fit(run)


class TestLostHistory:
    @pytest.mark.parametrize("left", [0, 1], ids=["all of it", "the last epoch"])
    def test_a_history_that_lacks_epochs_is_not_made_up(self, make_run, left):
        run = make_run(epochs=2)
        train(run)
        lines = run.directory.history.read_text().splitlines(keepends=True)
        run.directory.history.write_text("".join(lines[:left]))
        with pytest.raises(UserError, match="history.jsonl lacks epochs before iteration 8") as failure:
            train(make_run(epochs=3))
        assert failure.value.code == DAMAGED

    def test_nor_one_that_lacks_an_epoch_in_between(self, make_run):
        run = make_run(epochs=3)
        train(run)
        lines = run.directory.history.read_text().splitlines(keepends=True)
        run.directory.history.write_text(lines[0] + lines[2])
        with pytest.raises(UserError, match="lacks epochs before iteration 12"):
            train(make_run(epochs=4))

    def test_a_deleted_one_is_missed_in_mid_epoch_too(self, make_run):
        interrupted(make_run(epochs=3), 6)
        run = make_run(epochs=3)
        run.directory.history.unlink()
        with pytest.raises(UserError, match="lacks epochs before iteration 6"):
            train(run)


def one_cycle(optimizer, steps):
    return lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)


def warmup(optimizer, steps):
    decay = lr_scheduler.CosineAnnealingLR(optimizer, steps)
    return create_lr_scheduler_with_warmup(decay, warmup_start_value=0.0, warmup_duration=4)


def inverse(optimizer, _steps):
    return lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))


def piecewise(optimizer, steps):
    return PiecewiseLinear(optimizer, "lr", [(0, 0.1), (steps, 0.0)])


def halves(optimizer, steps):
    return lr_scheduler.MultiStepLR(optimizer, [steps // 2, steps * 3 // 4])


def momentum(params, lr):
    return torch.optim.SGD(params, lr, momentum=0.9)


rates = {}


def noting(run):
    """Handlers that note with which rates each iteration was done."""

    @run.trainer.on(Events.ITERATION_COMPLETED)
    def note(trainer):
        group = run.optimizer.param_groups[0]
        rates[trainer.state.iteration] = (group["lr"], group.get("momentum"), group.get("betas"))


class TestMoreEpochs:
    def test_they_continue_from_the_last(self, make_run):
        train(make_run(epochs=1))
        run = make_run(epochs=3)
        train(run)
        assert [row["epoch"] for row in history(run)] == [1, 2, 3]
        assert run.directory.read_settings()["recipe"]["epochs"] == 3

    @pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=pytest.mark.slow)])
    @pytest.mark.parametrize(
        ("schedule", "optimizer"),
        [
            ("cosine", "adam"),
            (one_cycle, momentum),
            (one_cycle, "adam"),
            (warmup, momentum),
            (inverse, momentum),
            (piecewise, momentum),
            (halves, momentum),
        ],
    )
    def test_their_rates_are_those_of_a_schedule_for_all_of_them(
        self, make_run, tmp_path, schedule, optimizer, accumulate
    ):
        def run(name, epochs):
            fields = {"schedule": schedule, "optimizer": optimizer, "accumulate": accumulate, "handlers": noting}
            return make_run(out=tmp_path / name, epochs=epochs, **fields)

        rates.clear()
        train(run("whole", 6))
        whole, length = dict(rates), len(rates) // 6
        rates.clear()
        train(run("parts", 2))
        assert interrupted(run("parts", 4), 2 * length + 2) == 75
        train(run("parts", 6))
        later = range(2 * length + 3, 6 * length + 1)
        assert [rates[n] for n in later] == [whole[n] for n in later]
        assert len({whole[n] for n in later}) > 1
        assert train(run("parts", 6)).finished_before

    def test_the_run_is_no_longer_exact_under_a_schedule(self, make_run):
        assert train(make_run(epochs=1, schedule="cosine")).metrics["exact"]
        assert not train(make_run(epochs=2, schedule="cosine")).metrics["exact"]

    def test_a_schedule_that_waits_for_a_plateau_keeps_what_it_has_seen(self, make_run, tmp_path):
        def plateau(optimizer, _steps):
            return lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=0)

        fields = {"schedule": plateau, "lr": 0.1}
        whole = make_run(out=tmp_path / "whole", epochs=8, **fields)
        train(whole)
        train(make_run(out=tmp_path / "parts", epochs=4, **fields))
        interrupted(make_run(out=tmp_path / "parts", epochs=6, **fields), 18)
        parts = make_run(out=tmp_path / "parts", epochs=8, **fields)
        assert train(parts).metrics["exact"]
        assert history(parts) == history(whole)
        assert len({row["lr"] for row in history(whole)[:4]}) > 1

    def test_fewer_epochs_than_are_done_finish_the_run_as_it_is(self, make_run):
        fitted(make_run(epochs=4, schedule=one_cycle))  # killed before it was published
        run = make_run(epochs=2, schedule=one_cycle)
        assert train(run).epochs == 4
        assert len(history(run)) == 4

    def test_killed_in_the_first_iterations_of_a_longer_run_nothing_is_lost(self, make_run, tmp_path):
        train(make_run(out=tmp_path / "whole", epochs=2, schedule="cosine"))
        shutil.copytree(tmp_path / "whole", tmp_path / "parts")
        whole = make_run(out=tmp_path / "whole", epochs=4, schedule="cosine")
        train(whole)
        longer = make_run(out=tmp_path / "parts", epochs=4, schedule="cosine")
        train_until(longer, Events.ITERATION_COMPLETED(once=10), kill)
        parts = make_run(out=tmp_path / "parts", epochs=4, schedule="cosine")
        train(parts)
        assert history(parts) == history(whole)


def test_a_checkpoint_of_another_network_does_not_fit(make_run):
    train(make_run(epochs=1))
    run = built(make_run(epochs=2))
    run.model[0].weight = torch.nn.Parameter(torch.zeros(3, 3))
    with pytest.raises(UserError, match="the checkpoint does not fit this run") as failure:
        fit(run)
    assert failure.value.code == DAMAGED
    assert steps(run.directory.checkpoints)
