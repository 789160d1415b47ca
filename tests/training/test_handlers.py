"""What happens around an epoch: schedules, early stopping, counting."""

import pytest
import torch
from ignite.engine import Events
from ignite.handlers import create_lr_scheduler_with_warmup
from ignite.metrics import Accuracy

from tests.helpers.runs import fitted, history, said, train


def test_running_accuracy_is_that_of_the_training_batches(make_run):
    def handlers(run):
        Accuracy().attach(run.trainer, "ignites")

    run = fitted(make_run(epochs=1, handlers=handlers))
    assert history(run)[0]["train_accuracy"] == pytest.approx(run.trainer.state.metrics["ignites"])


class TestEarlyStopping:
    def test_it_counts_over_epochs_not_within_one_evaluation(self, make_run):
        run = make_run(epochs=30, patience=3, lr=0.01)
        train(run)
        rows = history(run)
        assert len(rows) < 30
        assert rows[-1]["stopped"]
        assert not any(row["stopped"] for row in rows[:-1])
        best = [row["epoch"] for row in rows if row["best"]][-1]
        assert rows[-1]["epoch"] == best + 3

    def test_a_run_that_stopped_early_is_finished(self, make_run):
        run = make_run(epochs=30, patience=2, lr=0.01)
        train(run)
        assert train(make_run(epochs=30, patience=2, lr=0.01)).finished_before


def test_a_schedule_of_ignite_works_as_well_as_one_of_torch(make_run, tmp_path):
    def warmup(optimizer, steps):
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return create_lr_scheduler_with_warmup(decay, warmup_start_value=0.0, warmup_duration=4)

    run = make_run(schedule=warmup)
    train(run)
    assert history(run)[0]["lr"] > 0
    other = make_run(out=tmp_path / "cosine", schedule="cosine")
    train(other)
    assert [row["lr"] for row in history(other)] == pytest.approx([0.0005, 0])


def rates(prepared):
    return [row["lr"] for row in history(prepared)]


def one_cycle(optimizer, steps):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)


@pytest.mark.parametrize("schedule", ["cosine", one_cycle])
def test_more_epochs_continue_the_schedule_of_the_new_length(make_run, tmp_path, schedule):
    fields = {"schedule": schedule, "lr": 0.002}
    whole = make_run(out=tmp_path / "whole", epochs=6, **fields)
    train(whole)
    train(make_run(out=tmp_path / "longer", epochs=3, **fields))
    longer = make_run(out=tmp_path / "longer", epochs=6, **fields)
    assert train(longer).metrics["exact"] is False
    assert rates(longer)[3:] == pytest.approx(rates(whole)[3:])


def test_a_plateau_is_looked_for_in_the_score(make_run):
    def plateau(optimizer, steps):
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=0, threshold=2.0)

    prepared = make_run(schedule=plateau, epochs=4, lr=0.01)
    train(prepared)
    assert rates(prepared)[-1] == pytest.approx(0.01 / 8)


@pytest.mark.parametrize("score", ["balanced_accuracy", "macro_f1", "loss"])
def test_the_score_of_the_recipe_decides_the_best_epoch(make_run, score):
    prepared = make_run(score=score, epochs=4, lr=0.01)
    train(prepared)
    name = f"val_{score}"
    values = [row[name] * (-1 if score == "loss" else 1) for row in history(prepared)]
    best = [row["epoch"] for row in history(prepared) if row["best"]][-1]
    assert values[best - 1] == max(values)
    assert all(row["score"] == score for row in history(prepared))


def test_a_number_that_a_handler_records_is_on_the_progress_line_where_asked(make_run):
    def handlers(run):
        @run.trainer.on(Events.EPOCH_COMPLETED)
        def record():
            run.history.record("shown", 0.25, show=True)
            run.history.record("silent", 0.75)

    prepared = make_run(handlers=handlers)
    train(prepared)
    lines = [line for line in said(prepared) if line.startswith("epoch")]
    assert all("shown 0.25" in line and "silent" not in line for line in lines)
    assert [row["silent"] for row in history(prepared)] == [0.75, 0.75]
