"""Containers: images with a class each. Three kinds, and the base class for custom ones."""

from __future__ import annotations

import abc
import copy
import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset
from torchvision.transforms.v2.functional import pil_to_tensor

from ignite_vision.data.images import Least, read_image
from ignite_vision.errors import UserError

C = TypeVar("C", bound="Container")

SEPARATOR = os.fsencode(os.sep)
HASH_ROWS = 4096  # array rows that are gathered at a time: bounds the memory that a fingerprint takes
SAMPLED_FILES = 32  # whose content is read for a stamp: names, sizes and times of other data may all be the same
# Where torch data sets keep their labels: torchvision's own, then those of most others.
LABELS = ("targets", "labels", "_labels", "y")
SAMPLES = ("samples", "_samples")  # lists of (image or path, label)


class Container(Dataset[tuple[torch.Tensor, int]], abc.ABC):
    """Images with a class each: `images[i] -> (uint8 (C,H,W) of 1 or 3 channels, int)`.

    The base class of a custom kind. It implements `__getitem__`, where `self.index[i]` is the image's place in
    the pool, and `fingerprint`, and overrides what applies to it below. Splits, caches and loaders ask a
    container what it can do, never what type it is:

        class Scans(Container):
            stable = True

            def __init__(self, path):
                self.scans = np.load(path, mmap_mode="r")  # (N,H,W) uint8
                super().__init__(np.load(path.with_suffix(".labels.npy")), len(self.scans))

            def __getitem__(self, i):
                return torch.from_numpy(self.scans[self.index[i]].copy())[None], int(self.targets[i])

            def fingerprint(self):
                return hashlib.sha256(self.scans[self.index].tobytes() + self.targets.numpy().tobytes()).hexdigest()

    targets: (N,) int64. index: (N,) int64, each image's place in the pool. name: the prefix of the ids; two
    pools of one Splits need different ones. UserError if there is not one target for each of n images.
    """

    stable: bool = False
    """Every read of an image gives the same pixels, so that caches may hold them."""

    thread_safe: bool = False
    """Several threads may read at once, which makes it faster."""

    scales: bool = False
    """Large files may be decoded at a fraction of their size: `at_scale`."""

    costly: bool = False
    """Reading means decoding, so that pixels are worth a place on the disk."""

    groups: torch.Tensor | None = None
    """(N,) int64: images of one number belong together, on one side of every split. None: each stands alone."""

    weights: torch.Tensor | None = None
    """(N,) float32 above 0: what an image weighs in the training loss. None: all weigh 1."""

    def __init__(self, targets: Any, n: int, name: str = "train"):
        labels = as_targets(targets)
        if labels is None or len(labels) != n:
            raise UserError(f"targets must be {n} whole numbers, one class index for each image")
        self.targets, self.index, self.name = labels, torch.arange(n), name

    def __len__(self) -> int:
        return len(self.index)

    @abc.abstractmethod
    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        """Image i, (C,H,W) uint8, and its class index."""

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Hash (hex) of images and targets, the same wherever the data lie: a run belongs to it."""

    def sample_id(self, i: int) -> str:
        """Name of an image, unique in the pool and kept by a subset: `train:17`, its place there."""
        return f"{self.name}:{int(self.index[i])}"

    def subset(self: C, indices: Sequence[int] | np.ndarray | torch.Tensor) -> C:
        """Return a container of the same kind with these images, in this order. Copies no image or path."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        other = copy.copy(self)
        other.index, other.targets = self.index[chosen], self.targets[chosen]
        other.groups = None if self.groups is None else self.groups[chosen]
        other.weights = None if self.weights is None else self.weights[chosen]
        return other

    def pixels(self) -> torch.Tensor | None:
        """All images, (N,C,H,W) uint8 in this container's order, if they lie in memory already, else None."""
        return None

    def relabelled(self: C, targets: torch.Tensor) -> C:
        """Return a container of the same images with these class indices, (N,) int64."""
        other = copy.copy(self)
        other.targets = targets
        return other

    def at_scale(self: C, least: Least) -> C:  # noqa: ARG002
        """Return a container of the same images, which may come smaller than they are. least: as `decode` has it."""
        return self

    def stamp(self) -> str:
        """Hash (hex) of everything that the pixels depend on: the key of caches of what is computed from them."""
        return self.fingerprint()

    def home(self) -> str:
        """What images of one origin have in common: the folder, where they are files."""
        return self.stamp()

    def identities(self) -> np.ndarray:
        """(N,) uint64: a number for each image that changes with its pixels, wherever in `home` it is asked for."""
        stamp = self.stamp().encode()
        return as_numbers(stamp + os.fsencode(self.sample_id(i)) for i in range(len(self)))

    def path(self, i: int) -> Path | None:  # noqa: ARG002
        """Where image i's file lies; None for what is no file."""
        return None

    def file_size(self, i: int) -> int | None:  # noqa: ARG002
        """Bytes of image i's file; None for what is no file."""
        return None

    def content_digest(self, i: int) -> bytes | None:  # noqa: ARG002
        """Sha256 of image i's file; None for what is no file."""
        return None

    def sample_digest(self) -> str:
        """Short hash (hex) that separates data of equal names and sizes, wherever they lie; "" if there is none."""
        return ""


class ImageFiles(Container):
    """Image files below one folder, decoded by `read_image` when asked for: (3,H,W).

    The paths are one run of bytes with offsets: 1.3 million str objects would take 216 MB and be pickled into
    every loader worker. Names with undecodable bytes survive.
    """

    stable = thread_safe = costly = True

    def __init__(self, root: Path, relative_paths: Iterable[str | bytes], targets: Any):
        names = [os.fsencode(path) for path in relative_paths]
        super().__init__(targets, len(names))
        self.root, self._root = Path(root), os.fsencode(root)
        self._least: Least | None = None
        self._bytes = b"".join(names)
        self._offsets = np.cumsum([0, *map(len, names)], dtype=np.int64)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return read_image(self._place(i), self._least), int(self.targets[i])

    @property
    def scales(self) -> bool:  # type: ignore[override]
        """Whether images are read here: a kind made from this one may count on all of their pixels."""
        return type(self).__getitem__ is ImageFiles.__getitem__

    def at_scale(self, least: Least) -> ImageFiles:
        """Return the same files, of which large JPEGs are decoded at a fraction of their size."""
        other = copy.copy(self)
        other._least = least if self.scales else None
        return other

    def path(self, i: int) -> Path:
        """Where the file lies."""
        return Path(self._place(i))

    def _place(self, i: int) -> str:  # a Path costs more than the system's answer, and every image is asked for
        return os.fsdecode(b"%s%s%s" % (self._root, SEPARATOR, self._relative(i)))

    def status(self, i: int) -> os.stat_result:
        """Size and times of the file. UserError if it has vanished."""
        try:
            return os.stat(self._place(i))  # noqa: PTH116
        except OSError as error:
            raise self._unreadable(i, error) from error

    def sample_id(self, i: int) -> str:
        """Path below the root, with forward slashes."""
        return os.fsdecode(self._relative(i)).replace(os.sep, "/")

    def fingerprint(self) -> str:
        """Sha256 over the sorted (relative path, size in bytes, target). UserError if a file has vanished."""
        targets = self.targets.tolist()
        facts = ((os.fsencode(self.sample_id(i)), self.status(i).st_size, target) for i, target in enumerate(targets))
        weighed = [] if self.weights is None else [repr(self.weights.tolist()).encode()]
        return sha256([*sorted(b"%s\0%d\0%d\n" % fact for fact in facts), *weighed])

    def stamp(self) -> str:
        """Sha256 over the folder, each file's path, size and time, and the content of some. UserError as above."""
        folder = os.fsencode(self.root.resolve())
        return sha256(itertools.chain([folder, b"\n"], map(self._facts, range(len(self))), self._sampled()))

    def home(self) -> str:
        """The folder."""
        return f"{os.fsencode(self.root.resolve())!r}"

    def identities(self) -> np.ndarray:
        """(N,) uint64, of path, size and time. UserError if a file has vanished."""
        return as_numbers(map(self._facts, range(len(self))))

    def file_size(self, i: int) -> int:
        """Bytes of the file. UserError if it has vanished."""
        return self.status(i).st_size

    def content_digest(self, i: int) -> bytes:
        """Sha256 of the file. UserError if it cannot be read."""
        try:
            return hashlib.sha256(self.path(i).read_bytes()).digest()
        except OSError as error:
            raise self._unreadable(i, error) from error

    def sample_digest(self) -> str:
        """Hash of the content of up to 32 files, spread evenly: 16 hex digits. UserError if one cannot be read."""
        return sha256(self._sampled())[:16]

    def _sampled(self) -> Iterable[bytes]:
        n = len(self)
        chosen = np.linspace(0, n - 1, min(n, SAMPLED_FILES), dtype=np.int64)
        return (self.content_digest(i) for i in chosen.tolist())

    def _facts(self, i: int) -> bytes:
        status = self.status(i)
        return b"%s\0%d\0%d\n" % (os.fsencode(self.sample_id(i)), status.st_size, status.st_mtime_ns)

    def _unreadable(self, i: int, error: OSError) -> UserError:
        return UserError(f"cannot read image: {error.strerror}", self.path(i), "Restore it.")

    def _relative(self, i: int) -> bytes:
        k = int(self.index[i])
        return self._bytes[self._offsets[k] : self._offsets[k + 1]]


class ArrayImages(Container):
    """Images in memory. images: (N,C,H,W) uint8, the whole pool; a subset shares it and has another `index`.

    name: the prefix of the ids; the data set's train and test arrays need different ones.
    """

    stable = True

    def __init__(self, images: torch.Tensor, targets: Any, name: str = "train"):
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise UserError(f"images must be uint8 (N,C,H,W), not {images.dtype} {tuple(images.shape)}")
        super().__init__(targets, len(images), name)
        self.images = images

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.images[self.index[i]], int(self.targets[i])

    def fingerprint(self) -> str:
        """Sha256 over shape, targets and pixels."""
        pixels = (self.images[rows].numpy().tobytes() for rows in self.index.split(HASH_ROWS))
        head = f"{tuple(self.images.shape[1:])}{self.targets.tolist()}".encode()
        return sha256(itertools.chain([head], pixels))

    def pixels(self) -> torch.Tensor:
        """All images, (N,C,H,W) uint8: a copy."""
        return self.images[self.index]

    def sample_digest(self) -> str:
        """Return the fingerprint: it is over all pixels."""
        return self.fingerprint()


class DatasetImages(Container):
    """Any torch Dataset of (image, class index). Read each time and never cached: it may draw random numbers.

    An image is a PIL image (becomes RGB), a numpy array (H,W) or (H,W,C), or a tensor (C,H,W), the latter two
    uint8 with 1 or 3 channels. Targets come from `.targets` and the like; without these all items are read.
    """

    def __init__(self, dataset: Any, name: str = "train"):
        super().__init__(targets_of(dataset), len(dataset), name)
        self.dataset, self._labels = dataset, self.targets

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image, target = self.dataset[int(self.index[i])]
        kept = int(self._labels[self.index[i]])  # the data set's own number of the class
        if int(target) != kept:
            raise UserError(f"{self._kind} gives {self.sample_id(i)} class {target}, its labels say {kept}")
        return to_pixels(image, self._kind), int(self.targets[i])

    def fingerprint(self) -> str:
        """Sha256 over the class's name, the positions and the targets: the images are not read."""
        facts = (self._kind, len(self.dataset), self.index.tolist(), self.targets.tolist())
        return sha256([repr(facts).encode()])

    @property
    def _kind(self) -> str:
        return type(self.dataset).__qualname__


def as_images(dataset: Any, name: str) -> Container:
    """Pass a container of any kind through; wrap any other Dataset. UserError for what has no length or no items."""
    if isinstance(dataset, Container):
        return dataset
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        hint = "It needs __len__ and __getitem__ -> (image, class index)."
        raise UserError(f"{type(dataset).__qualname__} cannot be the {name} images", next_step=hint)
    return DatasetImages(dataset, name)


def as_targets(values: Any) -> torch.Tensor | None:
    """Return (N,) int64, or None if these are no class indices. Copies."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # ragged lists; tensors on a GPU
        return None
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        return None
    return torch.from_numpy(array.astype(np.int64))


def targets_of(dataset: Any) -> torch.Tensor:
    """Class indices (N,) int64 of any Dataset of (image, int), if possible without reading the images."""
    if isinstance(dataset, Subset):
        return targets_of(dataset.dataset)[torch.as_tensor(dataset.indices, dtype=torch.int64)]
    transform = getattr(dataset, "target_transform", None)
    for values in kept_labels(dataset):
        if len(values) == len(dataset):
            targets = as_targets(values if transform is None else [transform(value) for value in values])
            if targets is not None:
                return targets
    targets = as_targets([dataset[i][1] for i in range(len(dataset))])
    if targets is None:
        hint = "Each must be one int, 0 to C-1."
        raise UserError(f"the targets of {type(dataset).__qualname__} are no class indices", next_step=hint)
    return targets


def kept_labels(dataset: Any) -> Iterable[Any]:
    """Whatever the data set keeps that may be its labels."""
    for name in LABELS:
        values = getattr(dataset, name, None)
        if hasattr(values, "__len__"):
            yield values
    for name in SAMPLES:
        pairs = getattr(dataset, name, None)
        if isinstance(pairs, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            yield [label for _, label in pairs]


def to_pixels(image: Any, kind: str) -> torch.Tensor:
    """Return (C,H,W) uint8 of an item of a user's data set. kind: the data set's name, for the message."""
    if isinstance(image, Image.Image):
        return pil_to_tensor(image.convert("RGB"))
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(image.copy())  # arrays of PIL images are read-only
        image = image[None] if image.ndim == 2 else image.movedim(-1, 0)
    if not isinstance(image, torch.Tensor):
        hint = "A PIL image, or uint8 as a tensor (C,H,W) or an array (H,W,C)."
        raise UserError(f"{kind} returns {type(image).__qualname__} as an image", next_step=hint)
    if image.dtype != torch.uint8:
        hint = "Return uint8: drop ToTensor and Normalize from its transform, the recipe does that."
        raise UserError(f"{kind} returns {image.dtype} images", next_step=hint)
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        shape = tuple(image.shape)
        raise UserError(f"{kind} returns images of shape {shape}, not (C,H,W) with 1 or 3 channels")
    return image


def as_numbers(parts: Iterable[bytes]) -> np.ndarray:
    """(N,) uint64, the beginnings of the parts' hashes."""
    return np.frombuffer(b"".join(hashlib.blake2b(part, digest_size=8).digest() for part in parts), dtype="<u8")


def sha256(parts: Iterable[bytes]) -> str:
    """Sha256 (hex) of the parts, one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
