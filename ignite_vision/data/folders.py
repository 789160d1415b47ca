"""Class folders: ROOT/CLASS/image.jpg, or ROOT/train/CLASS/image.jpg with val/ and test/ beside it.

Hidden names, stray files and whatever is no regular image file are passed over. Order is bytewise everywhere.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from ignite_vision.data.images import IMAGE_EXTENSIONS
from ignite_vision.errors import UserError

EXTENSIONS = tuple(os.fsencode(extension) for extension in sorted(IMAGE_EXTENSIONS))
# What people call the folders of a given split.
LEVELS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def is_class_folders(root: Path) -> bool:
    """Whether some class folder has an image, with or without train, val and test. Stops at the first."""
    return Path(root).is_dir() and (bool(levels(Path(root))) or _holds_classes(Path(root)))


def levels(root: Path) -> dict[str, Path]:
    """Find train, val and test: split -> folder. Empty if there is no train folder that holds class folders.

    A class may be called `train`: that one holds its images itself.
    """
    folders = {_text(name).lower(): root / _text(name) for name in class_folders(root)}
    found = {split: [folders[name] for name in names if name in folders] for split, names in LEVELS.items()}
    if not any(map(_holds_classes, found["train"])):
        return {}
    for several in found.values():
        if len(several) > 1:
            raise UserError(f"both '{several[0].name}' and '{several[1].name}'", root, "Keep one of them.")
    return {split: several[0] for split, several in found.items() if several}


def class_names(folder: Path) -> list[bytes]:
    """Names of the class folders, sorted. UserError for fewer than two, with what lies there instead."""
    names = class_folders(folder)
    layout = f"Put the images of each class into a folder of its own: {folder}/CLASS/image.jpg"
    if not names:
        n = _count_images(folder)
        found = f", {n} images lie directly in it" if n else " and no images"
        raise UserError(f"no class folders{found}", folder, layout)
    if all(_text(name).lower() in itertools.chain(*LEVELS.values()) for name in names):
        hint = f"Expected {folder}/train/CLASS/image.jpg"
        raise UserError(f"no class folders in {', '.join(map(_text, names))}", folder, hint)
    if len(names) == 1:
        inner = folder / _text(names[0])
        hint = f"Try --data {inner}" if is_class_folders(inner) else layout
        raise UserError(f"only one class folder, '{inner.name}'", folder, hint)
    return names


def files_by_class(root: Path, folder: Path, classes: list[bytes]) -> list[list[bytes]]:
    """Paths below root of each class's images in folder. UserError for a class that is not in `classes`."""
    unknown = sorted(set(class_folders(folder)) - set(classes))
    if unknown:
        hint = "A class of val or test must be in train too: a model cannot learn it otherwise."
        raise UserError(f"class '{_text(unknown[0])}' is not in train", folder, hint)
    files = [class_files(root, folder / _text(name)) for name in classes]
    if not any(files):
        hint = f"Expected {folder}/CLASS/image.jpg; images end in {', '.join(sorted(IMAGE_EXTENSIONS))}."
        raise UserError("no images in any class folder", folder, hint)
    return files


def refuse_empty(folder: Path, classes: list[bytes], files: list[list[bytes]]) -> None:
    """UserError that names a class folder without images."""
    empty = [_text(name) for name, paths in zip(classes, files, strict=True) if not paths]
    if empty:
        more = f" (and in {len(empty) - 1} more)" if len(empty) > 1 else ""
        raise UserError(f"no images in class folder '{empty[0]}'{more}", folder, "Add images, or remove it.")


def class_files(root: Path, folder: Path) -> list[bytes]:
    """Paths below root of all image files in a class's folder and deeper, sorted. Empty without the folder.

    Links to files count, links to folders are not followed: a loop would count images again and again.
    """
    if not folder.is_dir():
        return []
    start, below = os.fsencode(folder), os.fsencode(folder.relative_to(root))
    return sorted(below + path[len(start) :] for path in _walk(start))


def class_folders(root: Path) -> list[bytes]:
    """Names of the folders in root that may be classes, sorted. Links to root or above it are left out."""
    real = os.path.realpath(os.fsencode(root))
    names = (entry.name for entry in _scan(os.fsencode(root)) if entry.is_dir() and not _loops(entry, real))
    return sorted(names)


def _text(name: bytes) -> str:
    return os.fsdecode(name)


def _scan(folder: bytes) -> Iterator[os.DirEntry[bytes]]:
    """What lies in a folder and is not hidden. UserError if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            yield from (e for e in entries if not e.name.startswith(b".") and e.name != b"__MACOSX")
    except OSError as error:
        hint = "Make it readable, or remove it."
        raise UserError(f"cannot read the folder: {error.strerror}", _text(folder), hint) from error


def _loops(entry: os.DirEntry[bytes], root: bytes) -> bool:
    """Whether this is a link to root itself or to a folder above it."""
    if not entry.is_symlink():
        return False
    real = os.path.realpath(entry.path)
    return os.path.commonpath([real, root]) == real


def _is_image(entry: os.DirEntry[bytes]) -> bool:
    """A regular file with an image's extension: no FIFO, socket or dangling link."""
    return entry.name.lower().endswith(EXTENSIONS) and entry.is_file()


def _walk(folder: bytes) -> Iterator[bytes]:
    for entry in _scan(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        elif _is_image(entry):
            yield entry.path


def _count_images(folder: Path) -> int:
    """How many images lie directly in a folder."""
    return sum(_is_image(entry) for entry in _scan(os.fsencode(folder)))


def _holds_classes(folder: Path) -> bool:
    """Whether a folder in this one directly holds an image."""
    paths = (folder / _text(name) for name in class_folders(folder))
    return any(any(map(_is_image, _scan(os.fsencode(path)))) for path in paths)
