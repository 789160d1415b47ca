"""Which images are in a batch, in which order, and what a batch holds."""

import numpy as np
import pytest
import torch

from ignite_vision import Splits
from ignite_vision.augment import RandomHorizontalFlip
from ignite_vision.data.containers import ArrayImages
from ignite_vision.errors import UserError
from ignite_vision.loading import batches
from ignite_vision.loading.batches import (
    MIN_EVAL_BATCH,
    EvalBatches,
    Order,
    TrainBatches,
    batches_per_epoch,
    eval_batch,
    in_order,
    padded,
    shared,
    train_batch,
)
from ignite_vision.loading.sources import Decoded, Resident
from tests.helpers.runs import built


def indices(order):
    return [(epoch, index.tolist()) for epoch, index in order]


def test_an_epoch_sees_each_image_at_most_once_and_drops_less_than_a_batch():
    seen = [i for _, batch in indices(Order(50, 16, 0, lambda: 0)) for i in batch]
    assert len(seen) == len(set(seen)) == 48


def test_every_epoch_has_its_own_order_and_a_seed_its_own_orders():
    first, second = indices(Order(50, 16, 0, lambda: 0)), indices(Order(50, 16, 0, lambda: 3))
    other = indices(Order(50, 16, 1, lambda: 0))
    assert [b for _, b in first] != [b for _, b in second]
    assert first != other


UNEQUAL = torch.tensor([0] * 34 + [1] * 12 + [2] * 4)


def balanced(iteration=0, share=(0, 1)):
    return indices(Order(50, 16, 0, lambda: iteration, share=share, balance=UNEQUAL))


def test_a_balanced_epoch_is_as_long_and_draws_classes_equally_often():
    drawn = torch.tensor([i for _, batch in balanced() for i in batch])
    assert len(drawn) == len(drawn.unique()) == 48
    assert min(UNEQUAL[drawn % 50].bincount()) >= 14


def test_the_balanced_order_resumes_in_any_epoch_and_is_shared_by_processes_too():
    whole = balanced(3)
    assert balanced(4) == whole[1:]
    assert [b for _, b in whole] != [b for _, b in balanced()]
    parts = [balanced(3, (rank, 2)) for rank in range(2)]
    assert [(epoch, sum((part[k][1] for part in parts), [])) for k, (epoch, _) in enumerate(whole)] == whole


def test_the_order_resumes_at_the_trainers_iteration():
    whole = indices(Order(50, 16, 0, lambda: 0))
    assert indices(Order(50, 16, 0, lambda: 2)) == whole[2:]


def test_asking_twice_for_an_iterator_changes_nothing():
    order = Order(50, 16, 0, lambda: 1)
    iter(order)  # a DataLoader with workers does so
    assert indices(order) == indices(Order(50, 16, 0, lambda: 1))


@pytest.mark.parametrize("count", [2, 4])
def test_the_shares_of_several_processes_make_up_the_batches_of_one(count):
    whole = indices(Order(50, 16, 0, lambda: 0))
    parts = [indices(Order(50, 16, 0, lambda: 0, share=(rank, count))) for rank in range(count)]
    assert [(epoch, sum((part[k][1] for part in parts), [])) for k, (epoch, _) in enumerate(whole)] == whole


def test_evaluation_sees_every_image_once_in_order():
    assert [i for _, batch in indices(in_order(range(50), 16)) for i in batch] == list(range(50))


@pytest.mark.parametrize(("requests", "count"), [(5, 2), (3, 4), (1, 3)])
def test_several_processes_evaluate_every_image_once_in_as_many_steps(requests, count):
    whole = in_order(range(16 * requests), 16)
    parts = [shared(whole, rank, count) for rank in range(count)]
    assert len({len(part) for part in parts}) == 1
    assert [i for part in parts for _, index in part for i in index.tolist()] == list(range(16 * requests))


def test_a_short_batch_is_padded_with_its_last_image_and_an_empty_one_with_the_first():
    assert padded(np.array([7, 9]), 4).tolist() == [7, 9, 9, 9]
    assert padded(np.array([], dtype=np.int64), 2).tolist() == [0, 0]


def test_evaluation_batches_have_one_shape_and_targets_say_how_many_count(make_run):
    run = make_run()
    made = EvalBatches(Decoded(run.splits.val, run.canvas, 0), run.splits.val.targets, 16)
    shapes = [(tuple(images.shape), len(targets)) for images, targets in (made[r] for r in in_order(range(24), 16))]
    assert shapes == [((16, 1, 8, 8), 16), ((16, 1, 8, 8), 8)]


def test_training_batches_are_the_same_whatever_the_source(make_run):
    run = make_run(augment=(RandomHorizontalFlip(),))
    everything = torch.stack([run.canvas(run.splits.train[i][0]) for i in range(len(run.splits.train))])
    for source in (Decoded(run.splits.train, run.canvas, 0), Resident(everything)):
        made = TrainBatches(source, run.splits.train.targets, 0, 1)
        images, targets, u = made[3, np.array([5, 2, 9])]
        assert images.equal(everything[[5, 2, 9]])
        assert targets.equal(run.splits.train.targets[[5, 2, 9]])
        assert u.shape == (3, 1)


def test_an_image_has_the_same_random_numbers_in_any_batch(make_run):
    run = make_run()
    made = TrainBatches(Decoded(run.splits.train, run.canvas, 0), run.splits.train.targets, 0, 2)
    together, alone = made[3, np.array([5, 2])][2], made[3, np.array([2])][2]
    assert together[1].equal(alone[0])
    assert not made[4, np.array([2])][2].equal(alone)


def test_a_repeat_in_an_epoch_is_the_same_image_with_other_random_numbers(make_run):
    run = make_run()
    n = len(run.splits.train)
    made = TrainBatches(Decoded(run.splits.train, run.canvas, 0), run.splits.train.targets, 0, 2)
    images, targets, u = made[3, np.array([5, 5 + n, 5 + 2 * n])]
    assert images[1].equal(images[0]) and images[2].equal(images[0])
    assert len(targets.unique()) == 1
    assert len(u.unique()) == 6


def test_an_error_is_raised_here_and_returned_by_a_worker(monkeypatch):
    @batches.errors_as_values
    def read(_self, _request):
        raise UserError("cannot read image")

    with pytest.raises(UserError):
        read(None, (0, None))
    monkeypatch.setattr(batches, "get_worker_info", lambda: object())
    assert isinstance(read(None, (0, None)), UserError)


def test_a_batch_larger_than_the_data_is_clamped(make_run):
    run = built(make_run(batch_size=1000))
    assert train_batch(run.recipe, len(run.splits.train)) == len(run.splits.train)
    assert len(run.loaders.train) == 1


def test_an_epoch_is_a_whole_number_of_optimizer_steps(make_run):
    run = built(make_run(batch_size=16, accumulate=4))
    assert (train_batch(run.recipe, len(run.splits.train)), len(run.loaders.train)) == (4, 16)
    assert batches_per_epoch(run.recipe, len(run.splits.train)) == 16


def grey(n, side=8):
    return ArrayImages(torch.zeros(n, 1, side, side, dtype=torch.uint8), torch.arange(n) % 2)


@pytest.mark.parametrize(
    ("wanted", "sizes", "used"), [(100_000, (30, 5, 5), 30), (100_000, (8, 3, 3), 16), (32, (500, 9, 9), 32)]
)
def test_evaluation_has_no_more_images_in_a_batch_than_the_largest_split(make_run, wanted, sizes, used):
    splits = Splits(*map(grey, sizes), classes=("dark", "bright"))
    assert eval_batch(make_run(batch_size=wanted).recipe, splits) == used >= MIN_EVAL_BATCH


def test_a_batch_that_processes_cannot_share_is_refused_with_one_that_they_can(make_run, monkeypatch):
    recipe = make_run(batch_size=16).recipe
    monkeypatch.setattr(batches.distributed, "count", lambda: 3)
    with pytest.raises(UserError, match="batches of 16 images cannot be shared equally by 3.*--batch-size 18"):
        train_batch(recipe, 1000)
    with pytest.raises(UserError, match="2 images are too few for 3 processes"):
        train_batch(recipe, 2)
