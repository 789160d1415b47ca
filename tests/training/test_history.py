"""Rows of history.jsonl, and the sums that they are made of."""

import dataclasses

import pytest
import torch
from ignite.engine import Engine, Events

from ignite_vision.system.files import append_line, read_lines
from ignite_vision.training.history import EpochRow, History
from ignite_vision.training.meters import Stopwatch, TrainingSums

ROW = EpochRow(1, 10, 1.5, 0.4, 1.25, 0.5, 0.001, True, False)


def add(history, row):
    history.begin_row(row)
    history.end_row(stopped=row.stopped)


def test_rows_come_back_from_the_file_as_they_were(tmp_path):
    history = History(tmp_path / "history.jsonl")
    add(history, ROW)
    again = History(history.path)
    again.read()
    assert again.rows == [ROW]


def test_rewinding_drops_later_epochs_from_the_file_too(tmp_path):
    history = History(tmp_path / "history.jsonl")
    for epoch in (1, 2, 3):
        add(history, dataclasses.replace(ROW, epoch=epoch, iteration=10 * epoch, recorded={}))
    history.rewind(25)
    assert [row.epoch for row in history.rows] == [1, 2]
    assert [line["epoch"] for line in read_lines(history.path)] == [1, 2]


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path):
    path = tmp_path / "history.jsonl"
    append_line(path, {"epoch": 1})
    with path.open("a") as file:
        file.write('{"epoch": 2, "tra')
    assert read_lines(path) == [{"epoch": 1}]


def step_with(outputs):
    batches = iter(outputs)
    return Engine(lambda engine, _batch: next(batches))


def test_training_sums_weigh_batches_and_survive_a_stop_in_mid_epoch():
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    outputs = [
        {"loss": torch.tensor(1.0), "y_pred": logits, "y": torch.tensor([0, 0])},
        {"loss": torch.tensor(3.0), "y_pred": logits, "y": torch.tensor([0, 1])},
    ]
    sums = TrainingSums(torch.device("cpu"))
    engine = step_with(outputs)
    engine.add_event_handler(Events.ITERATION_COMPLETED, sums.update)
    engine.run([0])
    again = TrainingSums(torch.device("cpu"))
    again.load_state_dict(sums.state_dict())
    engine = step_with(outputs[1:])
    engine.add_event_handler(Events.ITERATION_COMPLETED, again.update)
    engine.run([0])
    assert again.means() == (2.0, 0.75)


def test_the_state_of_the_sums_is_plain_numbers():
    state = TrainingSums(torch.device("cpu")).state_dict()
    assert state == {"processes": [[0.0, 0, 0, 0]]}


def test_the_stopwatch_counts_waiting_for_data_apart():
    import time

    class Slow:
        def __iter__(self):
            for _ in range(3):
                time.sleep(0.01)
                yield 0

        def __len__(self):
            return 3

    engine = Engine(lambda engine, batch: None)
    stopwatch = Stopwatch()
    stopwatch.attach(engine)
    engine.run(Slow())
    stopwatch.stop()
    assert 0.03 <= stopwatch.waited <= stopwatch.seconds
    assert stopwatch.seconds == pytest.approx(stopwatch.seconds)
