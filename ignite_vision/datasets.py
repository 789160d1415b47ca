"""Data sets: one function each, from the folder where a data set lies (or is downloaded to) to its Splits.

What a data set gives no split for is left None: `splits.cut` takes it from train.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
import torchvision
from torchvision.datasets.utils import download_and_extract_archive

from ignite_vision import folders
from ignite_vision.errors import UserError, did_you_mean
from ignite_vision.folders import is_class_folders
from ignite_vision.images import IMAGE_EXTENSIONS
from ignite_vision.splits import (
    ArrayImages,
    DatasetImages,
    ImageFiles,
    Images,
    Splits,
    kept_labels,
    targets_of,
)

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

TIMEOUT = 30.0  # seconds without a byte until a download gives up
DOGS_URL = "http://vision.stanford.edu/aditya86/ImageNetDogs/"
DOGS_MD5 = {
    "images.tar": "1bb1f2a596ae7057f99d7d75860002ef",
    "lists.tar": "edbb9f16854ec66506b5f09b583e0656",
}
# What to fetch by hand where there is no network, and where below the folder of --data to unpack it.
BY_HAND = {
    "Caltech256": (
        "https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar (1.1 GiB)",
        "256_ObjectCategories",
    ),
    "StanfordDogs": (f"{DOGS_URL}images.tar (757 MiB) and {DOGS_URL}lists.tar", ""),
    "CIFAR10": ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz (163 MiB)", "cifar-10-batches-py"),
    "FashionMNIST": (
        "the four .gz of http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/ (30 MiB)",
        "FashionMNIST/raw",
    ),
}
# Values of torchvision's `split`, the first that a data set knows.
SPLIT_VALUES = {
    "train": ("train", "trainval", "train-standard"),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}
TRANSFORMS = {
    "transform",
    "transforms",
    "target_transform",
    "loader",
}  # what changes images while they are read
ON_TORCHVISION = "https://pytorch.org/vision/stable/generated/torchvision.datasets."
PATHS = ("_image_files", "_images")  # where torchvision's data sets keep paths ...
PATHS_WITH_LABELS = ("samples", "_samples", "imgs")  # ... or (path, label)


def caltech256(root: Path) -> Splits:
    """Caltech-256: 30,607 photographs, 256 categories and clutter (Griffin, Holub, Perona 2007). No split.

    root: 256_ObjectCategories, or a folder one or two above it. torchvision's class only downloads: it
    trusts the numbers in file names and leaves grey images grey.
    """
    root = Path(root)
    if _caltech256_folder(root) is None:
        _download("Caltech256", root, lambda folder: torchvision.datasets.Caltech256(folder, download=True))
    folder = _caltech256_folder(root) or root
    names = folders.class_names(folder)
    classes = [name.split(b".", 1)[-1] for name in names]  # 001.ak47 -> ak47
    files = folders.files_by_class(folder, folder, names)
    folders.refuse_empty(folder, names, files)
    return _file_splits(folder, classes, train=files)


def _caltech256_folder(root: Path) -> Path | None:
    name = "256_ObjectCategories"
    candidates = (root / name, root / "caltech256" / name)
    return root if root.name == name else next((folder for folder in candidates if folder.is_dir()), None)


def image_folder(root: Path) -> Splits:
    """Any images in class folders: ROOT/CLASS/image.jpg, or ROOT/train/CLASS/image.jpg with val/ and test/.

    The classes of train, sorted, hold for val and test too. Images may lie deeper in a class's folder.
    UserError, with what to do, for a folder that is laid out otherwise.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError("not a folder" if root.exists() else "no such folder", root, "Look at --data.")
    levels = folders.levels(root) or {"train": root}
    classes = folders.class_names(levels["train"])
    parts = {name: folders.files_by_class(root, folder, classes) for name, folder in levels.items()}
    folders.refuse_empty(levels["train"], classes, parts["train"])
    return _file_splits(root, classes, **parts)


def _file_splits(root: Path, classes: list[bytes], **parts: list[list[bytes]]) -> Splits:
    """Splits of files. parts: split -> for each class, paths below root."""
    return Splits(
        classes=tuple(os.fsdecode(name) for name in classes),
        **{name: ImageFiles(root, *_flat(files)) for name, files in parts.items()},
    )


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
        _download("StanfordDogs", root, _fetch_dogs)
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
    return _torchvision_splits("CIFAR10", Path(root))


def fashion_mnist(root: Path) -> Splits:
    """Fashion-MNIST: 70,000 grey images of 28x28 in 10 classes, 10,000 for the test (Xiao et al. 2017).

    root: the folder that holds FashionMNIST/raw, or that is it, or FashionMNIST.
    """
    root = Path(root)
    if root.parts[-2:] == ("FashionMNIST", "raw"):
        root = root.parent
    return _torchvision_splits("FashionMNIST", root.parent if root.name == "FashionMNIST" else root)


def digits(root: Path) -> Splits:  # noqa: ARG001  (they lie inside scikit-learn)
    """scikit-learn's 1,797 handwritten digits of 8x8 (Alpaydin, Kaynak 1998): no download. No split."""
    from sklearn.datasets import load_digits  # takes a second that other data sets need not wait for

    images, targets = load_digits(return_X_y=True)
    pixels = np.round(images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)  # they are 0 to 16
    return Splits(ArrayImages(torch.from_numpy(pixels), targets), classes=tuple("0123456789"))


def torchvision_dataset(name: str, **arguments: Any) -> Callable[[Path], Splits]:
    """Any classification data set of torchvision: `data=torchvision_dataset("Food101")`.

    arguments: the class's own further ones (`annotation_level="family"`), without root and download.
    """
    return functools.partial(_torchvision_splits, name, **arguments)


def _torchvision_splits(name: str, root: Path, **arguments: Any) -> Splits:
    """Build every split that the data set has."""
    cls = _torchvision_class(name)
    parts: dict[str, Any] = {}
    classes: tuple[str, ...] = ()
    for split, choices in _split_arguments(cls, arguments).items():
        dataset = _first_known(cls, Path(root), [{**arguments, **choice} for choice in choices])
        if dataset is not None and not _is_unlabelled(dataset):
            parts[split] = _container(dataset, Path(root), split, as_stored=not TRANSFORMS & arguments.keys())
            classes = classes or _class_names(dataset)
            if classes != _class_names(dataset):
                raise UserError(f"{split} of torchvision's {name} has other classes than train", root)
    if "train" not in parts:
        raise UserError(f"torchvision's {name} has no training images with labels", root)
    n = 1 + max(int(part.targets.max()) for part in parts.values())
    return Splits(classes=classes or tuple(map(str, range(n))), **parts)


def _is_unlabelled(dataset: Any) -> bool:
    """Whether these are the test images of a contest: their labels are None."""
    return any(len(labels) and labels[0] is None for labels in kept_labels(dataset))


def _torchvision_class(name: str) -> Any:
    names = torchvision.datasets.__all__
    if name not in names:
        hint = did_you_mean(name, names) or "Names are those of torchvision.datasets, such as Food101."
        raise UserError(f"torchvision has no data set '{name}'", next_step=hint)
    return getattr(torchvision.datasets, name)


def _parameters(cls: Any) -> set[str]:
    """Names that the constructor takes; EMNIST and others hand **kwargs on to their base class."""
    names: set[str] = set()
    for base in cls.__mro__:
        parameters = inspect.signature(base.__init__).parameters
        names |= parameters.keys()
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
            break
    return names


def _split_arguments(cls: Any, given: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Split -> the arguments that may pick it, the likeliest first."""
    takes = _parameters(cls) - given.keys()
    if "train" in takes:
        return {"train": [{"train": True}], "test": [{"train": False}]}
    if "split" in takes:
        return {name: [{"split": value} for value in values] for name, values in SPLIT_VALUES.items()}
    return {"train": [{}]}


def _first_known(cls: Any, root: Path, candidates: list[dict[str, Any]]) -> Any:
    """Build the data set with the first arguments whose `split` it knows. None if it knows none of them."""
    for arguments in candidates:
        try:
            return _build(cls, root, arguments)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            if str(error).startswith("Unknown value"):  # torchvision's word for a split that it does not have
                continue
            page = f"{ON_TORCHVISION}{cls.__name__}.html"
            hint = f"{page} says what belongs there. Remove what is damaged and try again."
            raise UserError(f"cannot read {cls.__name__}: {_reason(error)}", root, hint) from error
    return None


def _build(cls: Any, root: Path, arguments: dict[str, Any]) -> Any:
    """Build from what is in root; download it if that fails and torchvision can."""
    takes = _parameters(cls)
    place = {"root": str(root)} if "root" in takes else {}
    if "download" not in takes:
        return cls(**place, **arguments)
    try:
        return cls(**place, **arguments, download=False)
    except (OSError, RuntimeError):
        _download(cls.__name__, root, lambda folder: cls(str(folder), **arguments, download=True))
        return cls(**place, **arguments, download=False)


def _class_names(dataset: Any) -> tuple[str, ...]:
    """Class names in the order of the targets, or nothing. ImageNet has synonyms: 'crane, bird'."""
    names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    if names is None and isinstance(index := getattr(dataset, "class_to_idx", None), dict):
        names = sorted(index, key=index.__getitem__)
    return tuple(name if isinstance(name, str) else ", ".join(name) for name in names or ())


def _container(dataset: Any, root: Path, split: str, *, as_stored: bool) -> Images:
    """Arrays stay arrays and files files: these can be cached. as_stored: no transform or loader between."""
    pixels = _pixels(getattr(dataset, "data", None)) if as_stored else None
    if pixels is not None:
        return ArrayImages(pixels, targets_of(dataset), split)
    paths = _paths(dataset) if as_stored else None
    if paths is not None:
        return ImageFiles(root, [os.path.relpath(path, root) for path in paths], targets_of(dataset))
    return DatasetImages(dataset, split)


def _pixels(data: Any) -> torch.Tensor | None:
    """Return (N,C,H,W) uint8 of (N,H,W), (N,H,W,C) or (N,C,H,W) uint8, else None."""
    data = torch.from_numpy(data) if isinstance(data, np.ndarray) and data.dtype == np.uint8 else data
    if not isinstance(data, torch.Tensor) or data.dtype != torch.uint8 or data.ndim not in (3, 4):
        return None
    if data.ndim == 3:
        return data.unsqueeze(1)
    return (data if data.shape[1] in (1, 3) else data.permute(0, 3, 1, 2)).contiguous()


def _paths(dataset: Any) -> list[str | Path] | None:
    """Where the images lie, if the data set keeps a list of image files."""
    kept = [getattr(dataset, name, None) for name in PATHS]
    kept += [[sample[0] for sample in getattr(dataset, name, None) or []] for name in PATHS_WITH_LABELS]
    for paths in kept:
        if isinstance(paths, list) and len(paths) == len(dataset) and all(map(_is_image_path, paths)):
            return paths
    return None


def _is_image_path(path: Any) -> bool:
    return isinstance(path, str | Path) and str(path).lower().endswith(tuple(IMAGE_EXTENSIONS))


def _download(name: str, root: Path, fetch: Callable[[Path], Any]) -> None:
    """Let `fetch` download into an empty folder beside the rest, then move what it brought into root.

    So nothing that is half downloaded or half unpacked is ever taken for the data set. UserError, with the
    way to get it by hand, if the download fails.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _socket_timeout(), tempfile.TemporaryDirectory(prefix=".incomplete-", dir=root) as folder:
            fetch(Path(folder))
            for path in Path(folder).iterdir():
                _move(path, root / path.name)
    except (OSError, RuntimeError, HTTPException) as error:
        url, place = BY_HAND.get(name, (f"what {ON_TORCHVISION}{name}.html names", ""))
        hint = (
            f"Fetch {url}, unpack it to {root / place}, and pass --data {root}; "
            "`ignite-vision run digits` works without a network."
        )
        raise UserError(f"cannot download {name}: {_reason(error)}", root, hint) from error


@contextlib.contextmanager
def _socket_timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _move(source: Path, target: Path) -> None:
    """Move a file or folder; a folder that is there already is filled up (its splits may come one by one)."""
    if not (source.is_dir() and target.is_dir()):
        source.replace(target)
        return
    for path in source.iterdir():
        _move(path, target / path.name)


def _reason(error: BaseException) -> str:
    """Say what went wrong in one line: the system's own words for a network that is not there."""
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
