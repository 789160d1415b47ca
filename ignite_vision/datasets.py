"""Data sets: one function each, from the folder where a data set lies (or is downloaded to) to its Splits.

What a data set gives no split for is left None: `splits.cut` takes it from train.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torchvision.datasets.utils import download_and_extract_archive

from ignite_vision.data import folders
from ignite_vision.data.containers import ArrayImages, ImageFiles
from ignite_vision.data.downloads import DOGS_URL, download
from ignite_vision.data.folders import is_class_folders
from ignite_vision.data.splits import Splits
from ignite_vision.data.torchvision_sets import torchvision_splits
from ignite_vision.errors import UserError

__all__ = [
    "caltech256",
    "cifar10",
    "digits",
    "fashion_mnist",
    "image_folder",
    "is_class_folders",
    "stanford_dogs",
    "torchvision_dataset",
]
DOGS_MD5 = {
    "images.tar": "1bb1f2a596ae7057f99d7d75860002ef",
    "lists.tar": "edbb9f16854ec66506b5f09b583e0656",
}


def caltech256(root: Path) -> Splits:
    """Caltech-256: 30,607 photographs, 256 categories and clutter (Griffin, Holub, Perona 2007). No split.

    root: 256_ObjectCategories, or a folder one or two above it. torchvision's class only downloads: it
    trusts the numbers in file names and leaves grey images grey.
    """
    root = Path(root)
    if _caltech256_folder(root) is None:
        download("Caltech256", root, lambda folder: torchvision.datasets.Caltech256(folder, download=True))
    folder = _caltech256_folder(root) or root
    names = folders.class_names(folder)
    classes = [name.split(b".", 1)[-1] for name in names]  # 001.ak47 -> ak47
    passed = folders.PassedOver()
    files = folders.files_by_class(folder, folder, names, passed)
    folders.refuse_empty(folder, names, files)
    return _file_splits(folder, classes, passed.notes(), train=files)


def _caltech256_folder(root: Path) -> Path | None:
    name = "256_ObjectCategories"
    candidates = (root / name, root / "caltech256" / name)
    return root if root.name == name else next((folder for folder in candidates if folder.is_dir()), None)


def image_folder(root: Path) -> Splits:
    """Any images in class folders: ROOT/CLASS/image.jpg, or ROOT/train/CLASS/image.jpg with val/ and test/.

    The classes of train, sorted, hold for val and test too. Images may lie deeper in a class's folder.
    UserError, with what to do, for a folder that is laid out otherwise; the Splits' notes say what is not read.
    """
    root = Path(root)
    folders.refuse_no_folder(root)
    levels = folders.levels(root)
    notes = folders.notes_on_levels(root, levels) if levels else ()
    levels = levels or {"train": root}
    classes = folders.class_names(levels["train"])
    folders.refuse_level_too_high(levels["train"], classes)
    passed = folders.PassedOver()
    parts = {name: folders.files_by_class(root, folder, classes, passed) for name, folder in levels.items()}
    folders.refuse_empty(levels["train"], classes, parts["train"])
    splits = _file_splits(root, classes, notes + passed.notes(), **parts)
    return dataclasses.replace(splits, keep_duplicates_together=True)


def _file_splits(root: Path, classes: list[bytes], notes: tuple[str, ...], **parts: list[list[bytes]]) -> Splits:
    """Splits of files. parts: split -> for each class, paths below root."""
    images: dict[str, Any] = {name: ImageFiles(root, *_flat(files)) for name, files in parts.items()}
    return Splits(classes=tuple(os.fsdecode(name) for name in classes), notes=notes, **images)


def _flat(files: list[list[bytes]]) -> tuple[list[bytes], list[int]]:
    """(paths, targets) of the paths of each class."""
    return (
        [path for paths in files for path in paths],
        [label for label, paths in enumerate(files) for _ in paths],
    )


def stanford_dogs(root: Path) -> Splits:
    """Stanford Dogs: 120 breeds, the official 12,000 images to train and 8,580 to test (Khosla et al. 2011).

    root holds Images/ and train_list.mat, test_list.mat (or these in lists/). Its classes are those listed.
    """
    root = Path(root)
    if not (root / "Images").is_dir() or _dogs_list(root, "train") is None:
        download("StanfordDogs", root, _fetch_dogs)
    lists = {name: _read_dogs_list(root, name) for name in ("train", "test")}
    breeds = sorted({path.split("/")[0] for paths in lists.values() for path in paths})
    labels = {breed: label for label, breed in enumerate(breeds)}
    parts = {
        name: ImageFiles(root / "Images", paths, [labels[path.split("/")[0]] for path in paths])
        for name, paths in lists.items()
    }
    # 'n02099267-flat-coated_retriever' -> 'flat-coated_retriever'
    return Splits(parts["train"], test=parts["test"], classes=tuple(b.split("-", 1)[-1] for b in breeds))


def _dogs_list(root: Path, name: str) -> Path | None:
    candidates = (root / "lists" / f"{name}_list.mat", root / f"{name}_list.mat")
    return next((path for path in candidates if path.is_file()), None)


def _read_dogs_list(root: Path, name: str) -> list[str]:
    """Paths below Images, in the list's order. UserError for an unreadable list or a missing image."""
    import scipy.io

    path = _dogs_list(root, name)
    if path is None:
        raise UserError(f"no {name}_list.mat", root, f"Unpack {DOGS_URL}lists.tar there.")
    try:
        paths = [str(row.item()) for row in scipy.io.loadmat(path)["file_list"].ravel()]
    except (OSError, ValueError, KeyError, TypeError, scipy.io.matlab.MatReadError) as error:
        raise UserError(f"cannot read the list: {error}", path, "Unpack lists.tar again.") from error
    missing = [p for p in paths if not (root / "Images" / p).is_file()]
    if missing:
        hint = f"Unpack {DOGS_URL}images.tar again."
        raise UserError(f"{len(missing)} of {len(paths)} images are missing, the first {missing[0]}", path, hint)
    return paths


def _fetch_dogs(folder: Path) -> None:
    for name, md5 in DOGS_MD5.items():
        download_and_extract_archive(DOGS_URL + name, folder, md5=md5, remove_finished=True)


def cifar10(root: Path) -> Splits:
    """CIFAR-10: 60,000 images of 32x32 in 10 classes, 10,000 for the test (Krizhevsky 2009)."""
    return torchvision_splits("CIFAR10", Path(root), {})


def fashion_mnist(root: Path) -> Splits:
    """Fashion-MNIST: 70,000 grey images of 28x28 in 10 classes, 10,000 for the test (Xiao et al. 2017).

    root: the folder that holds FashionMNIST/raw, or that is it, or FashionMNIST.
    """
    root = Path(root)
    if root.parts[-2:] == ("FashionMNIST", "raw"):
        root = root.parent
    return torchvision_splits("FashionMNIST", root.parent if root.name == "FashionMNIST" else root, {})


def digits(root: Path) -> Splits:  # noqa: ARG001  (they lie inside scikit-learn)
    """scikit-learn's 1,797 handwritten digits of 8x8 (Alpaydin, Kaynak 1998): no download. No split."""
    from sklearn.datasets import load_digits  # takes a second that other data sets need not wait for

    images, targets = load_digits(return_X_y=True)
    pixels = np.round(images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)  # they are 0 to 16
    return Splits(ArrayImages(torch.from_numpy(pixels), targets), classes=tuple("0123456789"))


@dataclasses.dataclass(frozen=True)
class TorchvisionDataset:
    """A data function that is a value: it can be described, compared and pickled. arguments: the class's further ones.

    Called with a folder it returns the Splits there, or downloads them.
    """

    name: str
    arguments: Mapping[str, Any] = dataclasses.field(hash=False)

    def __call__(self, root: Path) -> Splits:
        return torchvision_splits(self.name, Path(root), self.arguments)

    @property
    def __name__(self) -> str:  # what a function has: here the data set's folder is named after it
        return self.name.lower()


def torchvision_dataset(name: str, **arguments: Any) -> TorchvisionDataset:
    """Any classification data set of torchvision: `data=torchvision_dataset("Food101")`.

    arguments: the class's own further ones (`annotation_level="family"`), without root and download.
    """
    return TorchvisionDataset(name, arguments)
