"""Loaders: the same batches with workers and without, and errors that name their cause."""

import pytest

from ignite_vision import datasets
from ignite_vision.augment import RandomHorizontalFlip
from ignite_vision.errors import STOPPED, UserError
from ignite_vision.loading.loaders import _whole
from ignite_vision.loading.workers import WorkerKilled
from tests.helpers.runs import built


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_cache_or_workers(make_run, workers):
    reference = built(make_run(augment=(RandomHorizontalFlip(),), cache="resident"))
    other = built(make_run(augment=(RandomHorizontalFlip(),), cache="none", workers=workers))
    assert (reference.plan.kind, other.plan.kind) == ("resident", "none")
    pairs = list(zip(reference.loaders.train, other.loaders.train, strict=True))
    assert len(pairs) == 4
    assert all(a.equal(b) for pair in pairs for a, b in zip(*pair, strict=True))


def test_workers_of_rows_in_memory_are_not_started(make_run):
    assert built(make_run(cache="resident", workers=2)).loaders.train.num_workers == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_read_is_one_error_that_names_it_from_workers_too(make_run, image_folder, workers):
    fields = {"data_function": datasets.image_folder, "model": "cifar10_cnn", "cache": "none"}
    run = built(make_run(data=image_folder, workers=workers, **fields))
    for path in image_folder.rglob("*.jpg"):
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match=rf"cannot read image: the file is cut off \({image_folder}/.*\.jpg\)"):
        list(run.loaders.train)


@pytest.mark.parametrize(
    "error", [RuntimeError("DataLoader worker (pid 1) exited unexpectedly"), ConnectionResetError(), EOFError()]
)
def test_a_worker_that_is_gone_is_said_in_words(error):
    def batches():
        yield "first"
        raise error

    whole = _whole(batches())
    assert next(whole) == "first"
    with pytest.raises(WorkerKilled, match="a loader worker was killed") as failure:
        next(whole)
    assert failure.value.code == STOPPED


def test_a_worker_that_was_killed_between_two_epochs_is_said_in_words(make_run):
    loader = built(make_run(cache="none", workers=2)).loaders.train
    list(loader)
    for worker in loader._iterator._workers:
        worker.kill()
        worker.join()
    with pytest.raises(WorkerKilled, match="a loader worker was killed"):
        list(loader)
    loader.close()


def test_what_a_data_set_raises_is_passed_on_as_it_is():
    def batches():
        raise RuntimeError("Caught RuntimeError in DataLoader worker process 0. the worker exited unexpectedly")
        yield

    with pytest.raises(RuntimeError, match="Caught"):
        next(_whole(batches()))
