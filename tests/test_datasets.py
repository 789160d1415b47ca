"""Each data set from its official layout, in miniature; and what happens where there is no network."""

import hashlib
import pickle

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from PIL import Image

from ignite_vision.datasets import caltech256, cifar10, digits, fashion_mnist, stanford_dogs, torchvision_dataset
from ignite_vision.errors import UserError

CATEGORIES = ("001.ak47", "002.american-flag", "257.clutter")
BREEDS = ("n02085620-Chihuahua", "n02089078-black-and-tan_coonhound", "n02099267-flat-coated_retriever")


def write(path, colour=(10, 20, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (6, 5), colour).save(path)


def ids(images):
    return [images.sample_id(i) for i in range(len(images))]


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


def test_a_torchvision_data_set_is_a_value_that_can_be_pickled_compared_and_named():
    data = torchvision_dataset("FGVCAircraft", annotation_level="family")
    assert pickle.loads(pickle.dumps(data)) == data
    assert data != torchvision_dataset("FGVCAircraft", annotation_level="manufacturer")
    assert repr(data) == "TorchvisionDataset(name='FGVCAircraft', arguments={'annotation_level': 'family'})"
    assert data.__name__ == "fgvcaircraft" and isinstance(hash(data), int)
