"""Sums and times of the running epoch."""

import time

import torch
from ignite.engine import Engine, Events

from ignite_vision.training.meters import COUNT_AT_ONCE, Stopwatch, TrainingSums

CPU = torch.device("cpu")
LOGITS = torch.tensor([[2.0, 0.0], [2.0, 0.0]])


def output(loss, targets):
    return {"loss": torch.tensor(loss), "y_pred": LOGITS, "y": torch.as_tensor(targets)}


def summed(sums, outputs):
    """Pass outputs by the sums, as a trainer does."""
    batches = iter(outputs)
    engine = Engine(lambda _engine, _batch: next(batches))
    engine.add_event_handler(Events.ITERATION_COMPLETED, sums.update)
    engine.run(range(len(outputs)))
    return sums


def test_loss_is_the_mean_over_batches_and_accuracy_that_over_images():
    sums = summed(TrainingSums(CPU), [output(1.0, [0, 0]), output(3.0, [0, 1])])
    assert sums.means() == (2.0, 0.75)


def test_more_batches_than_are_counted_at_once_are_all_counted():
    sums = summed(TrainingSums(CPU), [output(1.0, [0, 1])] * (2 * COUNT_AT_ONCE + 3))
    assert sums.means() == (1.0, 0.5)
    assert sums.images == 2 * (2 * COUNT_AT_ONCE + 3)


def test_soft_targets_are_counted_by_their_likeliest_class():
    sums = summed(TrainingSums(CPU), [output(1.0, [[0.6, 0.4], [0.3, 0.7]])])
    assert sums.means() == (1.0, 0.5)


def test_sums_survive_a_stop_in_mid_epoch():
    sums = summed(TrainingSums(CPU), [output(1.0, [0, 0])])
    again = TrainingSums(CPU)
    again.load_state_dict(sums.state_dict())
    assert summed(again, [output(3.0, [0, 1])]).means() == (2.0, 0.75)


def test_the_state_of_the_sums_is_plain_numbers():
    assert TrainingSums(CPU).state_dict() == {"processes": [[0.0, 0, 0, 0]]}


def test_sums_of_more_processes_are_added_up():
    sums = TrainingSums(CPU)
    sums.load_state_dict({"processes": [[1.0, 2, 1, 2], [3.0, 1, 1, 2]]})
    assert sums.means() == (2.0, 0.75)


def test_after_a_reset_nothing_is_left():
    sums = summed(TrainingSums(CPU), [output(1.0, [0, 0])])
    sums.reset()
    assert sums.state_dict() == TrainingSums(CPU).state_dict()


def test_the_stopwatch_counts_waiting_for_data_separately():
    class Slow:
        def __iter__(self):
            for _ in range(3):
                time.sleep(0.01)
                yield 0

        def __len__(self):
            return 3

    engine = Engine(lambda _engine, _batch: None)
    stopwatch = Stopwatch(TrainingSums(CPU))
    stopwatch.attach(engine)
    engine.run(Slow())
    stopwatch.stop()
    assert 0.03 <= stopwatch.waited <= stopwatch.seconds


def test_the_rate_of_an_epoch_that_is_taken_up_again_is_of_the_images_since_then():
    sums = TrainingSums(CPU)
    sums.load_state_dict({"processes": [[1.0, 3, 9, 900]]})
    stopwatch = Stopwatch(sums)
    stopwatch.reset()
    summed(sums, [output(1.0, [0, 0])])
    stopwatch.stop()
    assert (sums.images, stopwatch.images) == (902, 2)
