"""Data sets of torchvision, whatever their constructors take: found on the disk or downloaded, then as Splits."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from ignite_vision.data.containers import ArrayImages, Container, DatasetImages, ImageFiles, kept_labels, targets_of
from ignite_vision.data.downloads import ON_TORCHVISION, download, reason
from ignite_vision.data.images import IMAGE_EXTENSIONS
from ignite_vision.data.splits import Splits
from ignite_vision.errors import UserError, did_you_mean

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
PATHS = ("_image_files", "_images")  # where torchvision's data sets keep paths ...
PATHS_WITH_LABELS = ("samples", "_samples", "imgs")  # ... or (path, label)


def torchvision_splits(name: str, root: Path, arguments: Mapping[str, Any]) -> Splits:
    """Build every split that torchvision's data set of this name has. arguments: its further ones.

    UserError for an unknown name, data that cannot be read or downloaded, and a data set without labels.
    """
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


def _split_arguments(cls: Any, given: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
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
            raise UserError(f"cannot read {cls.__name__}: {reason(error)}", root, hint) from error
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
        download(cls.__name__, root, lambda folder: cls(str(folder), **arguments, download=True))
        return cls(**place, **arguments, download=False)


def _class_names(dataset: Any) -> tuple[str, ...]:
    """Class names in the order of the targets, or nothing. ImageNet has synonyms: 'crane, bird'."""
    names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    if names is None and isinstance(index := getattr(dataset, "class_to_idx", None), dict):
        names = sorted(index, key=index.__getitem__)
    return tuple(name if isinstance(name, str) else ", ".join(name) for name in names or ())


def _container(dataset: Any, root: Path, split: str, *, as_stored: bool) -> Container:
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
