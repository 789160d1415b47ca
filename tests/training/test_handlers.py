"""What happens around an epoch: schedules, the best epoch, early stopping, the line, the curves."""

import io
import math
import sys

import pytest
import torch
from ignite.engine import Events
from ignite.handlers import create_lr_scheduler_with_warmup
from safetensors.torch import load_file
from torch.optim import lr_scheduler

from ignite_vision.errors import UserError
from ignite_vision.training.handlers import epoch_line
from ignite_vision.training.history import EpochRow
from tests.helpers.runs import fitted, history, said, same, train, weights


class TestSchedule:
    def test_of_ignite_works_as_well_as_one_of_torch(self, make_run, tmp_path):
        def warmup(optimizer, steps):
            decay = lr_scheduler.CosineAnnealingLR(optimizer, steps)
            return create_lr_scheduler_with_warmup(decay, warmup_start_value=0.0, warmup_duration=4)

        run = make_run(schedule=warmup)
        train(run)
        assert history(run)[0]["lr"] > 0
        other = make_run(out=tmp_path / "cosine", schedule="cosine")
        train(other)
        assert [row["lr"] for row in history(other)] == pytest.approx([0.0005, 0])

    def test_is_stepped_once_for_each_step_of_the_optimizer(self, make_run):
        run = make_run(schedule="cosine", accumulate=2, epochs=2)
        train(run)
        assert [row["lr"] for row in history(run)] == pytest.approx([0.0005, 0])

    @pytest.mark.parametrize(
        ("mode", "score", "expected"),
        [
            ("max", "accuracy", "val_accuracy"),
            ("max", "macro_f1", "val_macro_f1"),
            ("min", "accuracy", "val_loss"),
            ("min", "loss", "val_loss"),
        ],
    )
    def test_that_waits_for_a_plateau_is_told_the_score_or_the_loss(self, make_run, mode, score, expected):
        told = []

        def plateau(optimizer, _steps):
            scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, mode)
            step = scheduler.step
            scheduler.step = lambda value: (told.append(value), step(value))
            return scheduler

        run = fitted_quietly(make_run(schedule=plateau, score=score, epochs=3))
        assert told == [row[expected] for row in history(run)]

    def test_that_waits_for_a_higher_loss_is_told_the_negative(self, make_run):
        def plateau(optimizer, _steps):
            return lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=0)

        run = fitted(make_run(schedule=plateau, score="loss", epochs=3))
        assert run.saver.objects["scheduler"].best == max(-row["val_loss"] for row in history(run))

    def test_halves_the_rate_on_a_plateau(self, make_run):
        def plateau(optimizer, _steps):
            return lr_scheduler.ReduceLROnPlateau(
                optimizer, "max", factor=0.5, patience=0, threshold=9.0, threshold_mode="abs"
            )

        run = make_run(schedule=plateau, epochs=4)
        train(run)
        assert [row["lr"] for row in history(run)] == [0.001, 0.0005, 0.00025, 0.000125]

    def test_is_what_a_function_has_to_return(self, make_run):
        with pytest.raises(UserError, match="the recipe's schedule returned NoneType, not a scheduler"):
            train(make_run(schedule=lambda _optimizer, _steps: None))


def fitted_quietly(prepared):
    """Train a run whose schedule cannot be saved; the history is what counts."""
    run = prepared
    with pytest.raises(UserError, match="the state of 'scheduler' cannot be saved"):
        fitted(run)
    return run


class TestBest:
    def test_the_best_epoch_is_published_not_the_last(self, make_run):
        kept = {}

        def handlers(run):
            @run.trainer.on(Events.EPOCH_COMPLETED)
            def remember(trainer):
                kept[trainer.state.epoch] = weights(run)

            @run.trainer.on(Events.EPOCH_COMPLETED(once=2))
            def ruin():
                with torch.no_grad():
                    run.model[-1].weight.zero_()

        run = make_run(epochs=4, handlers=handlers, lr=0.01)
        train(run)
        best = [row["epoch"] for row in history(run) if row["best"]][-1]
        assert same(load_file(run.directory / "model.safetensors"), kept[best])

    @pytest.mark.parametrize("score", ["accuracy", "balanced_accuracy", "macro_f1", "loss"])
    def test_follows_the_score_that_the_recipe_names(self, make_run, score):
        run = make_run(epochs=6, lr=0.03, score=score)
        train(run)
        rows = history(run)
        column = {"accuracy": "val_accuracy", "loss": "val_loss"}.get(score, f"val_{score}")
        sign = -1 if score == "loss" else 1
        best = [row for row in rows if row["best"]][-1]
        assert sign * best[column] == max(sign * row[column] for row in rows)
        assert [row.get("score", "accuracy") for row in rows] == [score] * 6

    def test_another_score_is_on_the_progress_line(self, make_run):
        run = make_run(score="macro_f1")
        train(run)
        assert all("val_macro_f1" in line for line in said(run) if line.startswith("epoch"))


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

    def test_it_follows_the_score_as_best_does(self, make_run):
        run = make_run(epochs=40, patience=2, lr=0.3, score="loss")
        train(run)
        rows = history(run)
        assert rows[-1]["stopped"]
        assert min(rows, key=lambda row: row["val_loss"])["epoch"] == rows[-1]["epoch"] - 2


ROW = EpochRow(3, 12, 0.51234, 0.9, 0.4, 0.8, 0.001, True, True, recorded={"b": 2.0, "a": 1.23456789})


def test_the_line_of_an_epoch_is_aligned_and_has_what_is_to_be_shown():
    line = epoch_line(ROW, 10, 1.26, {"a", "missing"})
    expected = "epoch  3/10  train loss 0.5123 accuracy 0.900  val loss 0.4000 accuracy 0.800  a 1.235  1.3 s"
    assert line == expected + "  best  stopped early"


def test_a_progress_bar_is_drawn_on_a_terminal_only(make_run, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fitted(make_run(epochs=1))
    assert "[1/4]  25%" in terminal.getvalue()
    quiet = io.StringIO()
    monkeypatch.setattr(sys, "stderr", quiet)
    fitted(make_run(epochs=1, out=make_run().directory.path.with_name("other")))
    assert quiet.getvalue() == ""


class TestTensorboard:
    def test_has_the_curves(self, make_run):
        run = make_run()
        train(run)
        logs = b"".join(log.read_bytes() for log in run.directory.tensorboard.glob("events.out.tfevents.*"))
        assert all(name in logs for name in (b"train/loss", b"val/accuracy", b"lr"))

    def test_a_folder_that_cannot_be_written_costs_the_curves_and_one_warning(self, make_run):
        def handlers(run):
            run.directory.tensorboard.write_text("in the way")

        run = make_run(epochs=3, handlers=handlers)
        assert train(run).epochs == 3
        assert len([line for line in said(run) if "curves for TensorBoard" in line]) == 1


def test_a_history_that_cannot_be_written_is_a_warning_and_complete_at_the_end(make_run):
    def handlers(run):
        @run.trainer.on(Events.EPOCH_COMPLETED(once=1))
        def block():
            run.directory.history.mkdir()

        @run.trainer.on(Events.EPOCH_STARTED(once=2))
        def free():
            run.directory.history.rmdir()

    run = make_run(epochs=2, handlers=handlers)
    train(run)
    assert [row["epoch"] for row in history(run)] == [1, 2]
    assert any(line.startswith("warning: Is a directory: the epoch is not in") for line in said(run))


def test_a_loss_that_is_not_finite_over_an_epoch_ends_the_run(make_run, monkeypatch):
    from ignite_vision.training.meters import TrainingSums

    monkeypatch.setattr(TrainingSums, "means", lambda _self: (math.nan, 0.0))  # as where no iteration is looked at
    with pytest.raises(UserError, match="the loss is not finite in epoch 1 at learning rate 0.001"):
        train(make_run())
