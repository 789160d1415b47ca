"""Containers keep their names and are cheap to cut; a cut is seeded, stratified and never made twice."""

import csv
import os
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset, random_split

from ignite_vision.data.containers import ArrayImages, DatasetImages, ImageFiles, as_images
from ignite_vision.data.splits import Splits, cut, fingerprint
from ignite_vision.data.splits_csv import apply_csv, write_csv
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


def write_image(path, colour=(255, 0, 0), size=(4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


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


# containers


def test_image_files_are_read_as_rgb_and_named_by_their_path(tmp_path):
    write_image(tmp_path / "a" / "1.png", (9, 8, 7))
    write_image(tmp_path / "b" / "2.png", (1, 2, 3))
    files = ImageFiles(tmp_path, ["a/1.png", b"b/2.png"], [0, 1])
    image, target = files[1]
    assert image.shape == (3, 3, 4) and image.dtype == torch.uint8 and image[:, 0, 0].tolist() == [1, 2, 3]
    assert target == 1 and files.path(1) == tmp_path / "b/2.png"
    assert ids(files) == ["a/1.png", "b/2.png"]
    assert files.targets.dtype == torch.int64


@pytest.mark.skipif(os.name == "nt", reason="names are bytes on POSIX only")
def test_a_file_name_with_undecodable_bytes_survives(tmp_path):
    files = ImageFiles(tmp_path, [b"cat/caf\xe9.png", "cat/b.png"], [0, 0])
    write_image(files.path(0))
    assert files[0][0].shape == (3, 3, 4)
    assert os.fsencode(files.sample_id(0)) == b"cat/caf\xe9.png"


def test_a_million_paths_take_no_more_than_their_bytes(tmp_path):
    names = [f"n{i % 1000:08d}/{i:08d}.JPEG" for i in range(100_000)]
    assert len(pickle.dumps(ImageFiles(tmp_path, names, [0] * len(names)))) < 100_000 * (23 + 8 + 8 + 8 + 1)


def test_a_subset_keeps_ids_and_shares_the_pixels():
    images = pool()
    some = images.subset([5, 3, 60]).subset([2, 0])
    assert ids(some) == ["train:60", "train:5"]
    assert some.targets.tolist() == images.targets[[60, 5]].tolist()
    assert [int(some[i][0][0, 0, 0]) for i in range(2)] == [60, 5]
    assert some.images.data_ptr() == images.images.data_ptr()
    assert torch.equal(some.images[some.index], torch.stack([some[0][0], some[1][0]]))


def test_a_container_ends_like_any_sequence():
    assert len(list(pool(sizes=(2, 1, 1)))) == 4


@pytest.mark.parametrize("targets", [[0, 1], [0.0, 1.0, 1.0], ["a", "b", "c"], [[0], [1], [1]]])
def test_targets_that_are_not_one_class_index_for_each_image_are_refused(targets):
    with pytest.raises(UserError, match="3 whole numbers"):
        ArrayImages(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), targets)


def test_float_pixels_are_refused():
    with pytest.raises(UserError, match="uint8"):
        ArrayImages(torch.zeros(3, 1, 2, 2), [0, 1, 1])


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda i: Image.new("RGB", (3, 2), (i, i, i)), (3, 2, 3)),
        (lambda i: Image.new("L", (3, 2), i), (3, 2, 3)),
        (lambda i: np.asarray(Image.new("RGB", (3, 2), (i, i, i))), (3, 2, 3)),
        (grey_array, (1, 2, 3)),
        (lambda i: torch.full((1, 2, 3), i, dtype=torch.uint8), (1, 2, 3)),
    ],
    ids=["pil", "pil grey", "array", "grey array", "tensor"],
)
def test_a_users_data_set_may_return_pil_images_arrays_or_tensors(make, shape):
    images = as_images(Squares(make), "val")
    image, target = images[4]
    assert image.dtype == torch.uint8 and image.shape == shape and image.unique().tolist() == [4]
    assert target == 1 and images.targets.tolist() == [0, 1, 2, 0, 1, 2]
    assert images.sample_id(4) == "val:4"


def test_float_images_are_refused_with_the_way_out():
    with pytest.raises(UserError, match="float32 images. Return uint8: drop ToTensor"):
        as_images(Squares(lambda _: torch.rand(3, 2, 2)), "train")[0]


def test_images_with_four_channels_are_refused():
    with pytest.raises(UserError, match="1 or 3 channels"):
        as_images(Squares(lambda _: torch.zeros(4, 2, 2, dtype=torch.uint8)), "train")[0]


@pytest.mark.parametrize("attribute", ["targets", "labels", "_labels", "y", "_samples", "samples"])
def test_labels_that_a_data_set_keeps_are_taken_without_reading_an_image(attribute):
    def never(i):
        raise AssertionError("an image was read")

    data = Squares(never)
    labels = [0, 1, 2, 0, 1, 2]
    setattr(data, attribute, [("x.png", label) for label in labels] if "samples" in attribute else labels)
    assert DatasetImages(data).targets.tolist() == labels


def test_a_target_transform_holds_for_kept_labels_too():
    data = Squares(grey_array, [0, 1, 2, 0, 1, 2])
    data.target_transform = lambda label: 2 - label
    assert DatasetImages(data).targets.tolist() == [2, 1, 0, 2, 1, 0]


def test_random_split_of_a_data_set_keeps_its_labels():
    part, _ = random_split(Squares(grey_array), [4, 2])
    images = DatasetImages(part)
    assert images.targets.tolist() == [images[i][1] for i in range(4)]
    assert isinstance(part, Subset)


def test_labels_that_contradict_the_items_are_an_error():
    with pytest.raises(UserError, match="train:1 class 1, its labels say 2"):
        DatasetImages(Squares(grey_array, [0, 2, 1, 0, 2, 1]))[1]


def test_a_data_set_without_class_indices_is_refused():
    with pytest.raises(UserError, match="no class indices"):
        as_images(TensorDataset(torch.zeros(4, 3, 2, 2), torch.rand(4)), "train")


def test_something_without_a_length_is_refused():
    with pytest.raises(UserError, match="__len__"):
        as_images(iter([]), "train")


# fingerprints


def test_a_fingerprint_does_not_depend_on_where_files_lie(tmp_path):
    prints = []
    for root in (tmp_path / "here", tmp_path / "there"):
        for name in ("b.png", "a.png"):
            write_image(root / name)
        prints.append(ImageFiles(root, sorted(["a.png", "b.png"], reverse=len(prints) > 0), [0, 0]).fingerprint())
    assert prints[0] == prints[1]


@pytest.mark.parametrize("change", ["size", "name", "target"])
def test_a_fingerprint_changes_with_the_files(tmp_path, change):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png")
    before = ImageFiles(tmp_path, ["a.png"], [0]).fingerprint()
    if change == "size":
        write_image(tmp_path / "a.png", size=(50, 60))
    name = "b.png" if change == "name" else "a.png"
    assert ImageFiles(tmp_path, [name], [int(change == "target")]).fingerprint() != before


def test_a_fingerprint_of_a_file_that_vanished_names_it(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png"):
        ImageFiles(tmp_path, ["gone.png"], [0]).fingerprint()


def test_a_fingerprint_changes_with_one_pixel():
    one, other = pool(), pool()
    assert one.fingerprint() == other.fingerprint()
    other.images[-1, 0, 1, 1] += 1
    assert one.fingerprint() != other.fingerprint()
    assert one.subset([0, 1]).fingerprint() != one.subset([1, 0]).fingerprint()


def test_the_fingerprint_of_splits_knows_the_classes_and_the_cut():
    one = cut(splits(), 0.1, 0.1, split_seed=0)
    assert fingerprint(one) == fingerprint(cut(splits(), 0.1, 0.1, split_seed=0))
    assert fingerprint(one) != fingerprint(cut(splits(), 0.1, 0.1, split_seed=1))
    assert fingerprint(one) != fingerprint(Splits(one.train, one.val, one.test, ("a", "b", "c")))


# Splits


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


# splits.csv


def files_of(root, names):
    for name in names:
        write_image(root / os.fsdecode(name))
    return Splits(ImageFiles(root, names, [i % 2 for i in range(len(names))]), classes=("cat", "dog"))


def test_splits_csv_is_plain_and_restores_the_same_splits(tmp_path):
    given = splits()
    parts = cut(given, 0.1, 0.125, split_seed=0)
    write_csv(parts, tmp_path / "splits.csv")
    text = (tmp_path / "splits.csv").read_bytes().decode()
    assert text.startswith("path,class,split,bytes\ntrain:") and "\r" not in text
    assert [row["split"] for row in csv.DictReader(text.splitlines())] == ["train"] * 56 + ["val"] * 7 + ["test"] * 9
    again = apply_csv(given, tmp_path / "splits.csv")
    assert fingerprint(again) == fingerprint(parts)
    assert [path.name for path in tmp_path.iterdir()] == ["splits.csv"]


def test_a_given_test_split_is_restored_from_itself(tmp_path):
    given = Splits(pool(), test=pool((4, 4, 4), "test"), classes=CLASSES)
    parts = cut(given, 0.1, 0.125, split_seed=0)
    write_csv(parts, tmp_path / "splits.csv")
    assert fingerprint(apply_csv(given, tmp_path / "splits.csv")) == fingerprint(parts)


@pytest.mark.skipif(os.name == "nt", reason="such names do not exist on Windows")
def test_hostile_file_names_survive_splits_csv(tmp_path):
    names = [b'a,"b".png', b"a\nb.png", b"a\rb.png", b"caf\xe9.png", "ü\u2028.png".encode(), b" x .png"]
    given = files_of(tmp_path / "data", names)
    parts = cut(given, 0.0, 0.4, split_seed=0)
    write_csv(parts, tmp_path / "splits.csv")
    again = apply_csv(given, tmp_path / "splits.csv")
    assert ids(again.train) == ids(parts.train) and ids(again.test) == ids(parts.test)


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (["0.png", "1.png", "2.png"], "1 gone, the first '3.png'"),
        (["0.png", "1.png", "2.png", "3.png", "4.png"], "1 new, the first '4.png'"),
        (["0.png", "2.png", "1.png", "3.png"], "2 gone, the first '1.png'; 2 new, the first '2.png'"),
    ],
    ids=["gone", "new", "another class"],
)
def test_data_that_changed_since_the_run_began_is_refused(tmp_path, now, message):
    write_csv(cut(files_of(tmp_path, ["0.png", "1.png", "2.png", "3.png"]), 0, 0, 0), tmp_path / "splits.csv")
    with pytest.raises(UserError, match="start a new run with --out") as raised:
        apply_csv(files_of(tmp_path, now), tmp_path / "splits.csv")
    assert message in str(raised.value) and raised.value.code == 2


@pytest.mark.parametrize("text", ["", "a,b\n", "path,class,split\nx,cat\n", "path,class,split\nx,cat,all\n", '"'])
def test_a_damaged_splits_csv_is_one_line(tmp_path, text):
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(UserError, match="cannot read the splits"):
        apply_csv(splits(), tmp_path / "splits.csv")


def test_two_images_of_one_name_are_refused_before_anything_is_written(tmp_path):
    parts = cut(Splits(pool(), test=pool(), classes=CLASSES), 0.1, 0.1, split_seed=0)
    with pytest.raises(UserError, match="two images are called 'train:"):
        write_csv(parts, tmp_path / "splits.csv")
    assert not list(tmp_path.iterdir())
