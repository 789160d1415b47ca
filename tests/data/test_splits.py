"""A cut is seeded, stratified and never made twice; splits know their classes and their names."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from ignite_vision.data.containers import ArrayImages, ImageFiles
from ignite_vision.data.splits import NAMES, Splits, content_hash, cut, fingerprint
from ignite_vision.errors import UserError

CLASSES = ("cat", "dog", "owl")


def pool(sizes=(40, 20, 12), name="train"):
    """An array pool whose pixels tell the images apart; the classes alternate."""
    labels = torch.cat([torch.full((n,), label) for label, n in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    pixels = torch.arange(len(labels), dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return ArrayImages(pixels, labels, name)


def splits(**sizes):
    return Splits(pool(**sizes), classes=CLASSES)


def ids(images):
    return [images.sample_id(i) for i in range(len(images))]


class Squares(Dataset):
    """A user's data set: image i is one colour, its class is i % 3."""

    def __init__(self, make, labels=None):
        self.make = make
        if labels is not None:
            self.targets = labels

    def __len__(self):
        return 6

    def __getitem__(self, i):
        if i >= len(self):
            raise IndexError(i)
        return self.make(i), i % 3


def grey_array(i):
    return np.full((2, 3), i, dtype=np.uint8)


# Splits


def test_the_fingerprint_of_splits_knows_the_classes_and_the_cut():
    one = cut(splits(), 0.1, 0.1, split_seed=0)
    assert fingerprint(one) == fingerprint(cut(splits(), 0.1, 0.1, split_seed=0))
    assert fingerprint(one) != fingerprint(cut(splits(), 0.1, 0.1, split_seed=1))
    assert fingerprint(one) != fingerprint(Splits(one.train, one.val, one.test, ("a", "b", "c")))


def test_splits_wrap_a_users_data_sets_with_ids_of_their_own():
    three = Splits(Squares(grey_array), Squares(grey_array), Squares(grey_array), CLASSES)
    assert [three.train.sample_id(0), three.val.sample_id(0), three.test.sample_id(0)] == [
        "train:0",
        "val:0",
        "test:0",
    ]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("cat",), "1 classes"),
        (("cat", "dog"), "train has target 2, the classes are 0 to 1"),
        (("cat", "dog", "cat"), "two classes are called 'cat'"),
    ],
)
def test_classes_that_do_not_fit_are_refused(classes, message):
    with pytest.raises(UserError, match=message):
        Splits(pool(), classes=classes)


# cut


def test_a_cut_is_complete_disjoint_and_in_the_pools_order():
    parts = cut(splits(), 0.1, 0.125, split_seed=0)
    indices = [part.index.tolist() for part in (parts.train, parts.val, parts.test)]
    assert sorted(sum(indices, [])) == list(range(72))
    assert all(part == sorted(part) for part in indices)


def test_a_cut_is_stratified_by_class():
    parts = cut(splits(), 0.1, 0.125, split_seed=0)
    assert Counter(parts.val.targets.tolist()) == {0: 4, 1: 2, 2: 1}
    assert Counter(parts.test.targets.tolist()) == {0: 5, 1: 2, 2: 2}


def test_a_cut_depends_on_its_seed_alone():
    torch.manual_seed(1)
    one = cut(splits(), 0.1, 0.1, split_seed=0)
    torch.manual_seed(2)
    assert ids(one.test) == ids(cut(splits(), 0.1, 0.1, split_seed=0).test)
    assert ids(one.test) != ids(cut(splits(), 0.1, 0.1, split_seed=1).test)


def test_a_split_that_is_given_is_left_alone():
    given = Splits(pool(), test=pool((4, 4, 4), "test"), classes=CLASSES)
    parts = cut(given, 0.1, 0.125, split_seed=0)
    assert parts.test is given.test
    assert len(parts.train) == 65 and len(parts.val) == 7


def test_a_class_of_three_gives_one_to_each_and_smaller_ones_stay_in_train():
    parts = cut(splits(sizes=(3, 2, 1)), 0.1, 0.125, split_seed=0)
    assert Counter(parts.train.targets.tolist()) == {0: 1, 1: 2, 2: 1}
    assert parts.val.targets.tolist() == [0] and parts.test.targets.tolist() == [0]


@pytest.mark.parametrize("sizes", [(3, 3, 3), (1, 2, 4), (5, 1, 7)])
def test_train_keeps_an_image_of_each_class_whatever_the_fractions(sizes):
    for val, test in [(0.49, 0.5), (0.9, 0.05), (0.05, 0.9), (0.0, 0.99)]:
        parts = cut(splits(sizes=sizes), val, test, split_seed=3)
        assert set(parts.train.targets.tolist()) == {0, 1, 2}
        assert len(parts.train) + len(parts.val) + len(parts.test) == sum(sizes)


def test_nothing_is_cut_for_a_fraction_of_zero():
    parts = cut(splits(), 0.0, 0.0, split_seed=0)
    assert (len(parts.train), len(parts.val), len(parts.test)) == (72, 0, 0)


def test_fractions_that_leave_nothing_are_refused():
    with pytest.raises(UserError, match="nothing to train on"):
        cut(splits(), 0.5, 0.5, split_seed=0)


# by name


def test_a_split_is_found_by_its_name_and_one_that_is_not_cut_yet_is_none():
    uncut = splits()
    assert uncut["train"] is uncut.train and uncut["val"] is None
    assert dict(uncut.items()) == {"train": uncut.train}
    parts = cut(uncut, 0.1, 0.1, split_seed=0)
    assert dict(parts.items()) == {name: parts[name] for name in NAMES}
    with pytest.raises(KeyError):
        parts["validation"]


def test_notes_are_kept_by_a_cut_and_are_no_part_of_the_fingerprint():
    plain, noted = splits(), Splits(pool(), classes=CLASSES, notes=("3 files are passed over",))
    assert cut(noted, 0.1, 0.1, split_seed=0).notes == ("3 files are passed over",)
    assert fingerprint(noted) == fingerprint(plain)


def test_the_content_hash_finds_a_file_that_was_replaced_by_one_of_the_same_size(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"before")
    files = Splits(ImageFiles(tmp_path, ["a.png", "b.png"], [0, 1]), classes=("cat", "dog"))
    before = fingerprint(files), content_hash(files)
    (tmp_path / "b.png").write_bytes(b"after!")
    assert fingerprint(files) == before[0] and content_hash(files) != before[1]
