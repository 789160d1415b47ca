"""Rows of history.jsonl, and what a recipe's handlers record in them."""

import dataclasses
import json
import math

import pytest
from ignite.engine import Events

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.training.history import FIELDS, EpochRow, History
from tests.helpers.runs import assert_same_results, fitted, history, interrupted, said, train

ROW = EpochRow(1, 10, 1.5, 0.4, 1.25, 0.5, 0.001, True, False)


def add(rows, epoch, **values):
    rows.begin_row(dataclasses.replace(ROW, epoch=epoch, iteration=10 * epoch, recorded={}, **values))
    rows.end_row(stopped=False)


def read_again(rows):
    again = History(rows.path)
    again.read()
    return again


@pytest.fixture
def rows(tmp_path):
    return History(tmp_path / "history.jsonl")


def test_rows_come_back_from_the_file_as_they_were(rows):
    rows.record("f1", 0.25)
    rows.begin_row(dataclasses.replace(ROW, score="macro_f1"))
    rows.end_row(stopped=True)
    assert read_again(rows).rows == [
        dataclasses.replace(ROW, score="macro_f1", recorded={"f1": 0.25}, stopped=True),
    ]


def test_what_is_not_finite_is_null_in_the_file_and_nan_again(rows):
    rows.record("mine", math.inf)
    add(rows, 1, val_loss=math.nan)
    line = json.loads(rows.path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert line["val_loss"] is None
    assert line["mine"] is None
    (row,) = read_again(rows).rows
    assert math.isnan(row.val_loss)
    assert math.isnan(row.recorded["mine"])


def test_rewinding_drops_later_epochs_from_the_file_too(rows):
    for epoch in (1, 2, 3):
        add(rows, epoch)
    rows.rewind(25)
    assert [row.epoch for row in rows.rows] == [1, 2]
    assert [row.epoch for row in read_again(rows).rows] == [1, 2]


def test_a_line_that_a_crash_cut_off_is_left_out(rows):
    add(rows, 1)
    with rows.path.open("a") as file:
        file.write('{"epoch": 2, "tra')
    assert [row.epoch for row in read_again(rows).rows] == [1]


ODD = [
    json.dumps(ROW.to_line() | change)
    for change in ({"lr": "fast"}, {"lr": 10**400}, {"val_loss": math.inf}, {"epoch": None}, {"iteration": 0.5})
]


@pytest.mark.parametrize(
    "line",
    ["5", "[]", '"text"', "null", "{", '{"epoch": 1}', "[" * 20_000, *ODD],
    ids=[
        "number",
        "list",
        "text",
        "null",
        "half",
        "fields",
        "deep",
        "type",
        "huge",
        "infinite",
        "no epoch",
        "half an epoch",
    ],
)
def test_a_damaged_line_is_never_more_than_a_value_or_lookup_error(rows, line):
    rows.path.write_text(line + "\n")
    with pytest.raises((ValueError, LookupError)):
        rows.read()


@pytest.mark.parametrize("text", [b"5\n", b"\xff\xfe\n", b"{}\n", b'{"epoch": 1\n'])
def test_a_damaged_file_is_one_line_with_a_next_step(make_run, text):
    run = make_run(epochs=1)
    train(run)
    run.directory.history.write_bytes(text)
    with pytest.raises(UserError, match=r"cannot read history.jsonl.*Restore it") as failure:
        train(make_run(epochs=2))
    assert failure.value.code == DAMAGED
    assert "\n" not in str(failure.value)


def test_a_disk_that_was_full_is_made_up_for(rows):
    add(rows, 1)
    rows.path.unlink()
    rows.path.mkdir()
    with pytest.raises(OSError, match="directory"):
        add(rows, 2)
    add(rows, 3)
    rows.path.rmdir()
    rows.settle()
    assert [row.epoch for row in read_again(rows).rows] == [1, 2, 3]


def test_the_last_epoch_may_end_the_run_afterwards(rows):
    add(rows, 1)
    assert not rows.is_finished(5)
    rows.end_with_last_row()
    assert rows.is_finished(5)
    rows.settle()
    assert read_again(rows).is_finished(5)


class TestRecord:
    def test_a_number_is_in_the_row_that_is_open_or_the_next(self, rows):
        rows.record("early", 1)
        rows.begin_row(dataclasses.replace(ROW, recorded={}))
        rows.record("late", 2)
        rows.end_row(stopped=False)
        assert rows.rows[-1].recorded == {"early": 1.0, "late": 2.0}

    def test_the_last_value_counts(self, rows):
        rows.record("mine", 1)
        rows.record("mine", 2)
        add(rows, 1)
        assert read_again(rows).rows[-1].recorded == {"mine": 2.0}

    @pytest.mark.parametrize("name", [*FIELDS, "score"])
    def test_the_name_of_a_column_is_refused(self, rows, name):
        with pytest.raises(ValueError, match=f"'{name}' cannot be recorded: it is a column"):
            rows.record(name, 1)

    @pytest.mark.parametrize("name", ["", "two words", "1st", "a\nb", "<b>"])
    def test_what_is_no_name_is_refused(self, rows, name):
        with pytest.raises(ValueError, match="it is no valid name"):
            rows.record(name, 1)

    def test_it_is_in_the_file_on_the_progress_line_in_tensorboard_and_in_the_curves(self, make_run):
        def handlers(run):
            @run.trainer.on(Events.EPOCH_COMPLETED)
            def record(trainer):
                run.history.record("shown_number", trainer.state.epoch / 8, show=True)
                run.history.record("quiet_number", 1.0)

        run = make_run(handlers=handlers)
        train(run)
        assert [row["shown_number"] for row in history(run)] == [0.125, 0.25]
        lines = [line for line in said(run) if line.startswith("epoch")]
        assert ["shown_number 0.125" in line for line in lines] == [True, False]
        assert not any("quiet_number" in line for line in lines)
        assert any(b"shown_number" in log.read_bytes() for log in run.directory.tensorboard.glob("events*"))
        assert "shown_number" in run.directory.curves.read_text()

    @pytest.mark.parametrize("at", [1, 4, 6])
    def test_what_was_recorded_in_mid_epoch_is_resumed(self, make_run, tmp_path, at):
        def handlers(run):
            @run.trainer.on(Events.ITERATION_COMPLETED(event_filter=lambda _, n: n % 4 == 1))
            def record(trainer):
                run.history.record("first_loss", trainer.state.output["loss"].item(), show=True)

        whole = make_run(out=tmp_path / "whole", handlers=handlers)
        train(whole)
        interrupted(make_run(out=tmp_path / "parts", handlers=handlers), at)
        parts = make_run(out=tmp_path / "parts", handlers=handlers)
        train(parts)
        assert all(row["first_loss"] > 0 for row in history(parts))
        assert_same_results(whole, parts)
        assert all("first_loss" in line for line in said(parts) if line.startswith("epoch"))

    def test_a_recipes_handlers_see_the_row_before_it_is_written(self, make_run):
        def handlers(run):
            @run.trainer.on(Events.EPOCH_COMPLETED)
            def record():
                run.history.record("gap", run.history.rows[-1].train_accuracy - run.history.rows[-1].val_accuracy)

        run = fitted(make_run(handlers=handlers))
        assert [row["gap"] for row in history(run)] == [
            row["train_accuracy"] - row["val_accuracy"] for row in history(run)
        ]
