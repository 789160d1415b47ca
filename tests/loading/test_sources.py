"""Where rows come from: whatever kind a source is, its rows are the same to the bit."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from ignite_vision import datasets
from ignite_vision.data import hash_store
from ignite_vision.data.containers import ArrayImages, ImageFiles, as_images
from ignite_vision.data.hashing import perceptual_hash
from ignite_vision.data.preprocessing import SCALED, Canvas, Preprocessing, plain
from ignite_vision.loading import sources
from ignite_vision.loading.cache import Shards
from ignite_vision.loading.sources import Decoded, Mapped, Resident, Views, pixel_source
from tests.helpers.pictures import picture, save

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PREPROCESSING = Preprocessing(channels=3, resize=40, crop=32, mean=(0.5,) * 3, std=(0.5,) * 3)
INDEX = np.array([7, 0, 35, 7])


@pytest.fixture
def decoded(image_folder):
    return Decoded(datasets.image_folder(image_folder).train, Canvas(PREPROCESSING, 40), seed=0)


@pytest.mark.parametrize(
    ("kind", "on_disk", "made"),
    [("none", False, Decoded), ("resident", False, Resident), ("resident", True, Resident), ("pixels", True, Mapped)],
)
def test_every_kind_gives_the_same_rows(decoded, kind, on_disk, made):
    source = pixel_source(decoded, kind, on_disk, CPU, print)
    assert isinstance(source, made)
    assert len(source) == 36
    rows = source[0, INDEX]
    assert rows.shape == (4, 3, 40, 40)
    assert rows.equal(torch.stack([decoded.to_canvas(decoded.images[i][0]) for i in INDEX]))
    assert rows.is_contiguous(memory_format=torch.channels_last) or kind != "resident"


def test_each_fit_has_pixels_of_its_own_on_disk(image_folder):
    images = datasets.image_folder(image_folder).train
    hows = [
        Preprocessing(channels=3, resize=32, crop=32, mean=(0.5,) * 3, std=(0.5,) * 3, fit=fit, shape=shape)
        for fit, shape in (("crop", None), ("pad", None), ("squash", None), ("pad", (32, 40)), ("squash", (32, 40)))
    ]
    for how in hows:
        decoded = Decoded(images, Canvas(how, plain(how.size)), seed=0)
        assert pixel_source(decoded, "pixels", True, CPU, print)[0, INDEX].equal(decoded[0, INDEX])
    assert len(list(Shards("pixels", {}, 1, (1,), torch.uint8).folder.parent.glob("pixels-*"))) == len(hows)


def test_arrays_in_memory_are_taken_as_they_are():
    images = torch.randint(0, 256, (9, 1, 8, 8), dtype=torch.uint8)
    preprocessing = Preprocessing(channels=1, resize=8, crop=8, mean=(0.5,), std=(0.5,))
    source = pixel_source(
        Decoded(ArrayImages(images, [0] * 9), Canvas(preprocessing, 8), 0), "resident", False, CPU, print
    )
    assert source[0, np.array([3, 1])].equal(images[[3, 1]])


def test_threads_decode_in_order_also_where_blocks_end(decoded, monkeypatch):
    monkeypatch.setattr(sources, "DECODE_BLOCK", 10)
    rows = list(decoded.rows(range(36)))
    assert all(row.equal(decoded.one(0, i)) for i, row in enumerate(rows))


class Restless(Dataset):
    """Another picture at each look."""

    targets = (0, 1, 0)

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8), self.targets[i]


def test_a_data_set_that_draws_numbers_draws_them_by_seed_epoch_and_image():
    preprocessing = Preprocessing(channels=1, resize=8, crop=8, mean=(0.5,), std=(0.5,))
    one, other = (Decoded(as_images(Restless(), "train"), Canvas(preprocessing, 8), seed) for seed in (0, 1))
    first = one[0, np.array([0, 1, 2])]
    torch.rand(5)
    assert one[0, np.array([2, 0])].equal(first[[2, 0]])
    assert not one[1, np.array([0])].equal(first[[0]])
    assert not other[0, np.array([0])].equal(first[[0]])


def test_epochs_take_the_views_in_turn():
    rows = torch.arange(12.0).view(3, 2, 2)
    source = Views(Resident(rows), 2)
    assert source.augmented and len(source) == 3
    assert source[0, np.array([1])].equal(rows[[1], 0])
    assert source[5, np.array([1, 2])].equal(rows[[1, 2], 1])


def test_workers_read_for_whoever_would_wait(decoded):
    assert decoded.wants_workers(CPU)
    mapped = pixel_source(decoded, "pixels", True, CPU, print)
    assert [mapped.wants_workers(device) for device in (CPU, GPU)] == [False, True]
    resident = Resident(torch.zeros(2, 4))
    assert not (resident.wants_workers(GPU) or Views(resident, 1).wants_workers(GPU) or Views(resident, 1).pinned)


@pytest.mark.parametrize(("kind", "on_disk"), [("resident", False), ("pixels", True)])
def test_files_that_are_decoded_anyway_leave_their_hashes(decoded, kind, on_disk, monkeypatch):
    pixel_source(decoded, kind, on_disk, CPU, print)
    found, known = hash_store.kept(decoded.images)
    assert known.all()
    assert (found[5] == perceptual_hash(decoded.images[5][0])).all()
    monkeypatch.setattr(sources, "perceptual_hash", None)  # would fail: nothing is hashed again
    pixel_source(decoded, kind, on_disk, CPU, print)


def test_what_may_change_leaves_no_hash():
    images = as_images(Restless(), "train")
    with Decoded(images, Canvas(PREPROCESSING, 40), 0).leaving_hashes():
        pass
    assert not hash_store.kept(images)[1].any()


def test_a_photograph_that_comes_smaller_leaves_no_hash(tmp_path):
    for name, size in (("large.jpg", (1200, 900)), ("small.jpg", (120, 90))):
        save(tmp_path, name, picture(1, size))
    images = ImageFiles(tmp_path, ["large.jpg", "small.jpg"], [0, 1])
    to_canvas = Canvas(dataclasses.replace(PREPROCESSING, reader=SCALED), 32)
    decoded = Decoded(images, to_canvas, 0)
    with decoded.leaving_hashes():
        rows = decoded[0, np.array([0, 1])]
    assert hash_store.kept(images)[1].tolist() == [False, True]
    assert not rows[0].equal(to_canvas(images[0][0])) and rows[1].equal(to_canvas(images[1][0]))
