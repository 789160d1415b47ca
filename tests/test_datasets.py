"""Each data set from its official layout, in miniature; and what happens where there is no network."""

import functools
import hashlib
import http.server
import json
import pickle
import socket
import tarfile
import threading
import time

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from PIL import Image

from ignite_vision import datasets
from ignite_vision.data.containers import DatasetImages, ImageFiles
from ignite_vision.datasets import caltech256, cifar10, digits, fashion_mnist, stanford_dogs, torchvision_dataset
from ignite_vision.errors import UserError

CATEGORIES = ("001.ak47", "002.american-flag", "257.clutter")
BREEDS = ("n02085620-Chihuahua", "n02089078-black-and-tan_coonhound", "n02099267-flat-coated_retriever")


def write(path, colour=(10, 20, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (6, 5), colour).save(path)


def ids(images):
    return [images.sample_id(i) for i in range(len(images))]


def no_network():
    """Whether names cannot be resolved: the tests of the offline message need that for real."""
    try:
        socket.create_connection(("data.caltech.edu", 443), timeout=2).close()
    except OSError:
        return True
    return False


# Caltech-256


@pytest.fixture
def caltech(tmp_path):
    for category in CATEGORIES:
        for i in (1, 2, 10):
            write(tmp_path / "caltech256" / "256_ObjectCategories" / category / f"{category[:3]}_{i:04}.jpg")
    write(tmp_path / "caltech256/256_ObjectCategories/001.ak47/001_0002.jpg", colour=7, mode="L")
    return tmp_path


@pytest.mark.parametrize("below", ["", "caltech256", "caltech256/256_ObjectCategories"])
def test_caltech256_is_found_at_its_folder_or_above(caltech, below):
    splits = caltech256(caltech / below)
    assert splits.classes == ("ak47", "american-flag", "clutter")
    assert ids(splits.train)[:2] == ["001.ak47/001_0001.jpg", "001.ak47/001_0002.jpg"]
    assert splits.train.targets.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert splits.val is None and splits.test is None


def test_a_grey_photograph_of_caltech256_becomes_rgb(caltech):
    image, _ = caltech256(caltech).train[1]
    assert image.shape == (3, 5, 6)


@pytest.mark.real_data
def test_caltech256_reads_the_real_layout(test_data):
    splits = caltech256(test_data / "caltech256")
    assert len(splits.train) == 1123 and len(splits.classes) == 10 and "backpack" in splits.classes


# Stanford Dogs


def write_dogs(root, lists="lists"):
    for name, numbers in {"train": (1, 2), "test": (3,)}.items():
        paths = [f"{breed}/{breed[:9]}_{i}.jpg" for breed in BREEDS for i in numbers]
        for path in paths:
            write(root / "Images" / path)
        rows = np.empty((len(paths), 1), dtype=object)
        rows[:, 0] = [np.array([path]) for path in paths]
        (root / lists).mkdir(exist_ok=True)
        scipy.io.savemat(root / lists / f"{name}_list.mat", {"file_list": rows})
    write(root / "Images" / BREEDS[0] / "not_in_any_list.jpg")
    return root


@pytest.mark.parametrize("lists", ["lists", "."])
def test_stanford_dogs_keeps_its_official_lists_and_whole_names(tmp_path, lists):
    splits = stanford_dogs(write_dogs(tmp_path, lists))
    assert splits.classes == ("Chihuahua", "black-and-tan_coonhound", "flat-coated_retriever")
    assert ids(splits.train)[:3] == [
        "n02085620-Chihuahua/n02085620_1.jpg",
        "n02085620-Chihuahua/n02085620_2.jpg",
        "n02089078-black-and-tan_coonhound/n02089078_1.jpg",
    ]
    assert splits.train.targets.tolist() == [0, 0, 1, 1, 2, 2] and splits.test.targets.tolist() == [0, 1, 2]
    assert splits.val is None and splits.test[0][0].shape == (3, 5, 6)


def test_a_listed_image_that_is_missing_is_named(tmp_path):
    write_dogs(tmp_path)
    (tmp_path / "Images" / BREEDS[1] / "n02089078_2.jpg").unlink()
    with pytest.raises(
        UserError, match="1 of 6 images are missing, the first n02089078-black-and-tan_coonhound/n02089078_2"
    ):
        stanford_dogs(tmp_path)


def test_a_damaged_list_is_one_line(tmp_path):
    (write_dogs(tmp_path) / "lists" / "test_list.mat").write_bytes(b"<html>not found</html>" * 20)
    with pytest.raises(UserError, match="cannot read the list"):
        stanford_dogs(tmp_path)


@pytest.mark.real_data
def test_stanford_dogs_reads_the_real_lists(test_data):
    splits = stanford_dogs(test_data / "stanford_dogs")
    assert (len(splits.train), len(splits.test), len(splits.classes)) == (1500, 600, 10)
    assert "Old_English_sheepdog" in splits.classes


# arrays


@pytest.mark.real_data
@pytest.mark.parametrize("below", ["", "FashionMNIST", "FashionMNIST/raw"])
def test_fashion_mnist_reads_the_real_files(test_data, below):
    splits = fashion_mnist(test_data / "fashion_mnist" / below)
    assert splits.train.images.shape == (60000, 1, 28, 28) and splits.test.images.shape == (10000, 1, 28, 28)
    assert splits.classes[9] == "Ankle boot" and splits.train[0][1] == 9
    assert splits.train.sample_id(0) == "train:0" and splits.test.sample_id(0) == "test:0"


def write_cifar(root, monkeypatch, n=20):
    """CIFAR-10's python files with n images in each, and their checksums."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)

    def dump(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch():
        return {
            "data": generator.integers(0, 256, (n, 3072), dtype=np.uint8),
            "labels": [i % 10 for i in range(n)],
        }

    names = [str(i) for i in range(10)]
    cls = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cls, "train_list", [dump(f"data_batch_{i}", batch()) for i in range(1, 6)])
    monkeypatch.setattr(cls, "test_list", [dump("test_batch", batch())])
    name, md5 = dump("batches.meta", {"label_names": names})
    monkeypatch.setattr(cls, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return root


def test_cifar10_becomes_arrays_with_the_pixels_of_torchvisions_images(tmp_path, monkeypatch):
    root = write_cifar(tmp_path, monkeypatch)
    splits = cifar10(root)
    assert splits.train.images.shape == (100, 3, 32, 32) and splits.test.images.shape == (20, 3, 32, 32)
    image, target = torchvision.datasets.CIFAR10(root)[37]
    assert np.array_equal(splits.train[37][0].permute(1, 2, 0).numpy(), np.asarray(image))
    assert splits.train[37][1] == target == 7
    assert splits.val is None


def test_digits_are_inside_scikit_learn(tmp_path):
    splits = digits(tmp_path)
    assert splits.train.images.shape == (1797, 1, 8, 8) and splits.train.images.dtype == torch.uint8
    assert splits.train.images.unique().tolist() == [round(i * 255 / 16) for i in range(17)]
    assert splits.classes == tuple("0123456789") and splits.train[7][1] == 7
    assert not list(tmp_path.iterdir())


# any data set of torchvision


def write_food101(root):
    for name, numbers in {"train": (1, 2, 3), "test": (4,)}.items():
        listed = {food: [f"{food}/{i}" for i in numbers] for food in ("ramen", "apple_pie")}
        for path in (path for paths in listed.values() for path in paths):
            write(root / "food-101" / "images" / f"{path}.jpg")
        (root / "food-101" / "meta").mkdir(exist_ok=True)
        (root / "food-101" / "meta" / f"{name}.json").write_text(json.dumps(listed))
    return root


def test_food101_is_named_in_one_word_and_stays_files(tmp_path):
    splits = torchvision_dataset("Food101")(write_food101(tmp_path))
    assert splits.classes == ("apple_pie", "ramen")
    assert isinstance(splits.train, ImageFiles) and splits.val is None
    assert ids(splits.test) == ["food-101/images/ramen/4.jpg", "food-101/images/apple_pie/4.jpg"]
    assert splits.test.targets.tolist() == [1, 0] and splits.train[0][0].shape == (3, 5, 6)


def test_a_transform_in_between_leaves_the_reading_to_torchvision(tmp_path):
    shrink = torchvision.transforms.Resize(2)
    splits = torchvision_dataset("Food101", transform=shrink)(write_food101(tmp_path))
    assert isinstance(splits.train, DatasetImages) and splits.train[0][0].shape == (3, 2, 2)
    assert splits.train.targets.tolist() == [1, 1, 1, 0, 0, 0]


def test_dtd_gives_its_own_validation_split(tmp_path):
    for i, name in enumerate(("train", "val", "test")):
        lines = [f"{texture}/{texture}_{i}.jpg" for texture in ("banded", "woven")]
        for line in lines:
            write(tmp_path / "dtd" / "dtd" / "images" / line)
        (tmp_path / "dtd" / "dtd" / "labels").mkdir(exist_ok=True)
        (tmp_path / "dtd" / "dtd" / "labels" / f"{name}3.txt").write_text("\n".join(lines))
    splits = torchvision_dataset("DTD", partition=3)(tmp_path)
    assert ids(splits.val) == ["dtd/dtd/images/banded/banded_1.jpg", "dtd/dtd/images/woven/woven_1.jpg"]
    assert splits.classes == ("banded", "woven")


def test_oxford_pets_call_their_training_images_trainval(tmp_path):
    base = tmp_path / "oxford-iiit-pet"
    for name in ("trainval", "test"):
        pets = [(f"Abyssinian_{name}", 1), (f"american_bulldog_{name}", 2)]
        for pet, _ in pets:
            write(base / "images" / f"{pet}.jpg")
        (base / "annotations").mkdir(exist_ok=True)
        (base / "annotations" / f"{name}.txt").write_text("".join(f"{pet} {label} 1 1\n" for pet, label in pets))
    splits = torchvision_dataset("OxfordIIITPet")(tmp_path)
    assert splits.classes == ("Abyssinian", "American Bulldog")
    assert len(splits.train) == 2 and splits.val is None and ids(splits.test)[0].endswith("Abyssinian_test.jpg")


def test_clevrs_test_images_without_labels_are_left_out(tmp_path):
    base = tmp_path / "clevr" / "CLEVR_v1.0"
    for name in ("train", "val", "test"):
        write(base / "images" / name / "a.png")
        write(base / "images" / name / "b.png")
        scenes = [{"image_filename": f"{x}.png", "objects": [0] * n} for x, n in (("a", 1), ("b", 3))]
        (base / "scenes").mkdir(exist_ok=True)
        (base / "scenes" / f"CLEVR_{name}_scenes.json").write_text(json.dumps({"scenes": scenes}))
    splits = torchvision_dataset("CLEVRClassification")(tmp_path)
    assert splits.train.targets.tolist() == [1, 3] and splits.test is None and len(splits.val) == 2
    assert splits.classes == ("0", "1", "2", "3")  # it has no names


def test_grey_images_among_others_become_rgb(tmp_path):
    folder = tmp_path / "caltech101" / "101_ObjectCategories"
    for name, mode, colour in (("ant", "RGB", (1, 2, 3)), ("bass", "L", 9), ("BACKGROUND_Google", "L", 9)):
        write(folder / name / "image_0001.jpg", colour, mode)
    splits = torchvision_dataset("Caltech101")(tmp_path)
    assert splits.classes == ("ant", "bass")
    assert [splits.train[i][0].shape[0] for i in range(2)] == [3, 3]


def test_fake_data_has_no_folder_and_no_names(tmp_path):
    splits = torchvision_dataset("FakeData", size=12, image_size=(3, 4, 4), num_classes=3)(tmp_path / "none")
    assert isinstance(splits.train, DatasetImages) and splits.train[0][0].shape == (3, 4, 4)
    assert splits.classes == ("0", "1", "2") and not (tmp_path / "none").exists()


def test_emnist_passes_its_split_on_and_finds_train_in_its_base_class():
    assert datasets._split_arguments(torchvision.datasets.EMNIST, {"split": "letters"}) == {
        "train": [{"train": True}],
        "test": [{"train": False}],
    }


def test_the_adapter_can_be_pickled_and_recorded():
    data = torchvision_dataset("FGVCAircraft", annotation_level="family")
    again = pickle.loads(pickle.dumps(data))
    assert isinstance(again, functools.partial) and again.func is data.func
    assert (again.args, again.keywords) == (("FGVCAircraft",), {"annotation_level": "family"})


def test_an_unknown_data_set_suggests_the_near_one(tmp_path):
    with pytest.raises(UserError, match="no data set 'Food1O1'. Did you mean 'Food101'?"):
        torchvision_dataset("Food1O1")(tmp_path)


def test_a_data_set_that_torchvision_cannot_download_says_what_it_needs(tmp_path):
    with pytest.raises(UserError, match=r"cannot read FER2013: .*not found"):
        torchvision_dataset("FER2013")(tmp_path)


def test_a_missing_argument_of_the_data_set_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot read EMNIST: .*'split'"):
        torchvision_dataset("EMNIST")(tmp_path)


def test_a_damaged_file_of_a_data_set_is_one_line(tmp_path):
    (write_food101(tmp_path) / "food-101" / "meta" / "test.json").write_text("{")
    with pytest.raises(UserError, match="cannot read Food101: Expecting"):
        torchvision_dataset("Food101")(tmp_path)


# downloads


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (caltech256, "(1.1 GiB), unpack it to {root}/256_ObjectCategories,"),
        (stanford_dogs, "(757 MiB)"),
        (cifar10, "(163 MiB), unpack it to {root}/cifar-10-batches-py,"),
        (fashion_mnist, "(30 MiB), unpack it to {root}/FashionMNIST/raw,"),
        (torchvision_dataset("Food101"), "torchvision.datasets.Food101.html"),
    ],
    ids=["caltech256", "stanford_dogs", "cifar10", "fashion_mnist", "Food101"],
)
def test_without_a_network_the_way_out_is_printed_at_once(tmp_path, data, size):
    if not no_network():
        pytest.skip("there is a network here")
    root = tmp_path / "data"
    start = time.monotonic()
    with pytest.raises(UserError, match="^cannot download ") as raised:
        data(root)
    message = str(raised.value)
    assert size.format(root=root) in message and f"pass --data {root}" in message
    assert "ignite-vision run digits" in message and raised.value.code == 2
    assert time.monotonic() - start < 10
    assert not list(root.iterdir())


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a folder at the address of Stanford Dogs."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(datasets, "DOGS_URL", f"http://127.0.0.1:{running.server_port}/")
        yield folder
        running.shutdown()


def pack(source, target, names):
    with tarfile.open(target, "w") as archive:
        for name in names:
            archive.add(source / name, name)
    return hashlib.md5(target.read_bytes()).hexdigest()


@pytest.fixture
def packed_dogs(server, tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    write_dogs(source, ".")
    sums = {"images.tar": pack(source, server / "images.tar", ["Images"])}
    sums["lists.tar"] = pack(source, server / "lists.tar", ["train_list.mat", "test_list.mat"])
    monkeypatch.setattr(datasets, "DOGS_MD5", sums)
    return server


def test_a_download_is_unpacked_and_the_archives_are_gone(packed_dogs, tmp_path):
    root = tmp_path / "data"
    splits = stanford_dogs(root)
    assert len(splits.train) == 6 and len(splits.test) == 3
    assert sorted(path.name for path in root.iterdir()) == ["Images", "test_list.mat", "train_list.mat"]
    assert socket.getdefaulttimeout() is None


def test_an_archive_that_was_cut_short_is_never_taken_for_the_data(packed_dogs, tmp_path):
    whole = (packed_dogs / "lists.tar").read_bytes()
    (packed_dogs / "lists.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot download StanfordDogs: File not found or corrupted"):
        stanford_dogs(tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())
    (packed_dogs / "lists.tar").write_bytes(whole)
    assert len(stanford_dogs(tmp_path / "data").train) == 6


def test_a_download_fills_up_what_is_there_already(packed_dogs, tmp_path):
    write(tmp_path / "data" / "Images" / "mine.jpg")
    assert len(stanford_dogs(tmp_path / "data").train) == 6
    assert (tmp_path / "data" / "Images" / "mine.jpg").exists()
