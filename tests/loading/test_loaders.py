"""Batches: which images, in which order, with which random numbers, from whatever source."""

import numpy as np
import pytest
import torch

from ignite_vision import datasets
from ignite_vision.augment import RandomHorizontalFlip
from ignite_vision.errors import UserError
from ignite_vision.loading import workers
from ignite_vision.loading.batches import EvalBatches, Order, TrainBatches, in_order, train_batch
from ignite_vision.loading.sources import Decoded, Resident
from tests.helpers.runs import built, said


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


def test_the_order_goes_on_from_the_trainers_iteration():
    whole = indices(Order(50, 16, 0, lambda: 0))
    assert indices(Order(50, 16, 0, lambda: 2)) == whole[2:]


def test_asking_twice_for_an_iterator_changes_nothing():
    order = Order(50, 16, 0, lambda: 1)
    iter(order)  # a DataLoader with workers does so
    assert indices(order) == indices(Order(50, 16, 0, lambda: 1))


def test_evaluation_sees_every_image_once_in_order():
    assert [i for _, batch in indices(in_order(range(50), 16)) for i in batch] == list(range(50))


def test_evaluation_batches_have_one_shape_and_targets_say_how_many_count(make_run):
    run = make_run()
    batches = EvalBatches(Decoded(run.splits.val, run.canvas, 0), run.splits.val.targets, 16)
    shapes = [(tuple(images.shape), len(targets)) for images, targets in (batches[r] for r in in_order(range(24), 16))]
    assert shapes == [((16, 1, 8, 8), 16), ((16, 1, 8, 8), 8)]


def test_resident_and_decoded_batches_are_equal(make_run):
    run = make_run(augment=(RandomHorizontalFlip(),))
    decoded = Decoded(run.splits.train, run.canvas, 0)
    everything = torch.stack([run.canvas(run.splits.train[i][0]) for i in range(len(run.splits.train))])
    for source in (decoded, Resident(everything)):
        batches = TrainBatches(source, run.splits.train.targets, 0, 1)
        images, targets, u = batches[3, np.array([5, 2, 9])]
        assert images.equal(everything[[5, 2, 9]])
        assert targets.equal(run.splits.train.targets[[5, 2, 9]])
        assert u.shape == (3, 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_cache_or_workers(make_run, workers):
    reference = make_run(augment=(RandomHorizontalFlip(),), cache="resident")
    other = make_run(augment=(RandomHorizontalFlip(),), cache="none", workers=workers)
    reference, other = built(reference), built(other)
    assert (reference.plan.kind, other.plan.kind) == ("resident", "none")
    pairs = list(zip(reference.loaders.train, other.loaders.train, strict=True))
    assert len(pairs) == 4
    assert all(a.equal(b) for pair in pairs for a, b in zip(*pair, strict=True))


def test_a_batch_larger_than_the_data_is_clamped(make_run):
    run = make_run(batch_size=1000)
    run = built(run)
    assert train_batch(run.recipe, len(run.splits.train)) == len(run.splits.train)
    assert len(run.loaders.train) == 1


def test_an_epoch_is_a_whole_number_of_optimizer_steps(make_run):
    run = make_run(batch_size=16, accumulate=4)
    run = built(run)
    assert (train_batch(run.recipe, len(run.splits.train)), len(run.loaders.train)) == (4, 16)


def test_little_shared_memory_means_fewer_workers_and_says_how_to_get_more(make_run, monkeypatch):
    monkeypatch.setattr(workers, "free_shared_memory", lambda: 5 * 16 * 64)
    run = make_run(cache="none", workers=4)
    run = built(run)
    assert run.loaders.train.num_workers == run.loaders.val.num_workers == 1
    (warning,) = [line for line in said(run) if "--shm-size" in line]
    assert "1 of 4 loader workers" in warning


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_read_is_one_error_that_names_it_from_workers_too(make_run, image_folder, workers):
    fields = {"data_function": datasets.image_folder, "model": "cifar10_cnn", "cache": "none"}
    run = make_run(data=image_folder, workers=workers, **fields)
    run = built(run)
    for path in image_folder.rglob("*.jpg"):
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match=rf"cannot read image: the file is cut off \({image_folder}/.*\.jpg\)"):
        list(run.loaders.train)
