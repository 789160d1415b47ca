"""Containers keep their names, say what they can do, and are cheap to cut; a custom kind is as good as ours."""

import hashlib
import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset, random_split

from ignite_vision.data.containers import ArrayImages, Container, DatasetImages, ImageFiles, as_images
from ignite_vision.errors import UserError


def pool(sizes=(40, 20, 12), name="train"):
    """An array pool whose pixels tell the images apart; the classes alternate."""
    labels = torch.cat([torch.full((n,), label) for label, n in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    pixels = torch.arange(len(labels), dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return ArrayImages(pixels, labels, name)


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


# what a container can do


class Ramps(Container):
    """A custom kind, as its author would write it outside the package."""

    def __getitem__(self, i):
        return torch.full((1, 2, 2), int(self.index[i]), dtype=torch.uint8), int(self.targets[i])

    def fingerprint(self):
        return f"ramps {self.index.tolist()} {self.targets.tolist()}"


def test_a_custom_kind_passes_through_and_promises_nothing_by_default():
    images = Ramps([0, 1, 2, 0], 4).subset([3, 1])
    assert as_images(images, "train") is images and ids(images) == ["train:3", "train:1"]
    assert (images.stable, images.thread_safe, images.costly) == (False, False, False)
    assert (images.pixels(), images.file_size(0), images.content_digest(0)) == (None, None, None)
    assert images.stamp() == images.fingerprint() and images.sample_digest() == ""


def test_a_custom_kind_without_a_fingerprint_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        type("Nameless", (Container,), {"__getitem__": Ramps.__getitem__})([0, 1], 2)


def test_each_kind_says_whether_it_may_be_kept_and_read_by_threads(tmp_path):
    kinds = [ImageFiles(tmp_path, [], []), pool(), as_images(Squares(grey_array), "train")]
    assert [kind.stable for kind in kinds] == [True, True, False]
    assert [kind.thread_safe for kind in kinds] == [True, False, False]
    assert [kind.costly for kind in kinds] == [True, False, False]


def test_pixels_in_memory_come_in_the_containers_order():
    images = pool().subset([7, 3])
    assert images.pixels().equal(torch.stack([images[0][0], images[1][0]]))


def test_a_file_says_its_size_and_the_hash_of_its_content(tmp_path):
    write_image(tmp_path / "a.png")
    files, data = ImageFiles(tmp_path, ["a.png"], [0]), (tmp_path / "a.png").read_bytes()
    assert files.file_size(0) == len(data) and files.content_digest(0) == hashlib.sha256(data).digest()


def twins(root, colour):
    """Two files; whatever the colour, with the same names, sizes and times."""
    for name in ("a.bmp", "b.bmp"):
        write_image(root / name, colour)
        os.utime(root / name, (1, 1))
    return ImageFiles(root, ["a.bmp", "b.bmp"], [0, 1])


def test_the_stamp_and_the_sample_separate_other_pixels_under_the_same_names_sizes_and_times(tmp_path):
    red, blue = twins(tmp_path, (255, 0, 0)), twins(tmp_path, (255, 0, 0))
    stamp, sample, fingerprint = red.stamp(), red.sample_digest(), red.fingerprint()
    assert (blue.stamp(), blue.sample_digest()) == (stamp, sample)
    blue = twins(tmp_path, (0, 0, 255))
    assert blue.fingerprint() == fingerprint
    assert blue.stamp() != stamp and blue.sample_digest() != sample


def test_the_stamp_knows_the_folder_and_the_sample_does_not(tmp_path):
    here, there = twins(tmp_path / "here", (9, 9, 9)), twins(tmp_path / "there", (9, 9, 9))
    assert here.stamp() != there.stamp() and here.sample_digest() == there.sample_digest()
    assert len(here.sample_digest()) == 16


def test_the_stamp_changes_with_the_time_of_any_file(tmp_path):
    files = twins(tmp_path, (9, 9, 9))
    before = files.stamp()
    os.utime(tmp_path / "b.bmp", (1, 2))
    assert files.stamp() != before and files.sample_digest() == twins(tmp_path, (9, 9, 9)).sample_digest()


def test_the_stamp_does_not_depend_on_how_the_folder_is_written(tmp_path, monkeypatch):
    files = twins(tmp_path / "data", (9, 9, 9))
    monkeypatch.chdir(tmp_path)
    assert ImageFiles("data", ["a.bmp", "b.bmp"], [0, 1]).stamp() == files.stamp()


def test_no_more_than_32_files_are_read_for_the_sample(tmp_path):
    write_image(tmp_path / "a.png")
    names = [f"{i}.png" for i in range(100)]
    for name in names:
        (tmp_path / name).symlink_to("a.png")
    files = ImageFiles(tmp_path, names, [0] * 100)
    before = files.sample_digest()
    write_image(tmp_path / "b.png", (0, 0, 255))
    (tmp_path / "1.png").unlink()  # between the first and the second that are looked at
    assert files.sample_digest() == before
    (tmp_path / "99.png").unlink()
    with pytest.raises(UserError, match=r"99\.png"):
        files.sample_digest()


def test_arrays_are_known_by_their_content():
    assert pool().stamp() == pool().sample_digest() == pool().fingerprint()


def test_files_come_smaller_where_less_is_wanted_and_a_kind_made_from_them_stays_whole(tmp_path):
    class Whole(ImageFiles):
        def __getitem__(self, i):
            return super().__getitem__(i)

    def quarter(height, width):
        return height // 4, width // 4

    write_image(tmp_path / "a.jpg", size=(1200, 800))
    images = ImageFiles(tmp_path, ["a.jpg"], [0])
    small = images.at_scale(quarter)
    assert images.scales
    assert small[0][0].shape == small.subset([0])[0][0].shape == (3, 200, 300)
    assert images[0][0].shape == (3, 800, 1200)
    assert small.stamp() == images.stamp()
    whole = Whole(tmp_path, ["a.jpg"], [0])
    assert not whole.scales
    assert whole.at_scale(quarter)[0][0].shape == (3, 800, 1200)
    assert pool().at_scale(quarter)[0][0].shape == (1, 2, 2)
