"""Class folders: ROOT/CLASS/image.jpg, or ROOT/train/CLASS/image.jpg with val/ and test/ beside it.

Hidden names, stray files, run directories and whatever is no regular image file are passed over; what the user may
have meant to be read is noted. Order is bytewise everywhere.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
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
UNREAD = (b".heic", b".heif", b".avif", b".jxl")  # photographs, too, but none that the reader knows
OF_RUNS = (b"run.json", b".lock", b"splits.csv")  # what a run directory holds, the lock from its beginning
SURE = ".classes"  # an empty file of this name says: the folders beside it are the classes
SHOWN = 3  # names in a message


class PassedOver:
    """What a walk over class folders does not read although it may have been meant to be."""

    def __init__(self) -> None:
        self.formats: Counter[str] = Counter()
        self.links: list[bytes] = []

    def see(self, entry: os.DirEntry[bytes]) -> None:
        """Count an entry that is neither an image nor a folder."""
        if entry.is_symlink() and not (_is(entry.is_file) or _is_folder(entry)):
            self.links.append(entry.path)
        elif entry.name.lower().endswith(UNREAD):
            self.formats[Path(_text(entry.name)).suffix.lower()] += 1

    def notes(self) -> tuple[str, ...]:
        """A line each for images of other formats and for links that lead nowhere."""
        lines = []
        if self.formats:
            counts = ", ".join(f"{n:,} {extension}" for extension, n in sorted(self.formats.items()))
            lines.append(f"images of formats that are not read: {counts}. Convert them to JPEG or PNG")
        if self.links:
            lines.append(f"links that cannot be followed: {len(self.links):,}, the first '{_text(min(self.links))}'")
        return tuple(lines)


def is_class_folders(root: Path) -> bool:
    """Whether some class folder has an image, with or without train, val and test. Stops at the first."""
    return _is(Path(root).is_dir) and (bool(levels(Path(root))) or _holds_classes(Path(root)))


def refuse_no_folder(root: Path) -> None:
    """UserError if root is no folder, or cannot be looked at."""
    try:
        if not root.is_dir():
            raise UserError("not a folder" if root.exists() else "no such folder", root, "Check --data.")
    except OSError as error:
        raise _unreadable(root, error) from error


def levels(root: Path) -> dict[str, Path]:
    """Find train, val and test: split -> folder. Empty if there is no train folder that holds class folders.

    A class may be called `train`: that one holds its images itself. UserError for two folders of one split.
    """
    folders = [root / _text(name) for name in class_folders(root)]
    found = {split: [f for f in folders if f.name.lower() in names] for split, names in LEVELS.items()}
    if not any(map(_holds_classes, found["train"])):
        return {}
    for several in found.values():
        if len(several) > 1:
            raise UserError(
                f"both '{several[0].name}' and '{several[1].name}' are there, for one split", root, "Keep one of them."
            )
    return {split: several[0] for split, several in found.items() if several}


def notes_on_levels(root: Path, levels: dict[str, Path]) -> tuple[str, ...]:
    """What may not be meant: folders beside train, val and test, splits that are one folder, and odd names."""
    lines = [
        f"'{folder.name}' is read as the split {split}"
        for split, folder in levels.items()
        if folder.name not in LEVELS[split]
    ]
    lines += [
        f"'{one.name}' and '{other.name}' are the same folder: these splits hold the same images"
        for one, other in itertools.combinations(levels.values(), 2)
        if one.resolve() == other.resolve()
    ]
    names = {os.fsencode(folder.name) for folder in levels.values()}
    beside = [name for name in class_folders(root) if name not in names and _holds_image(root / _text(name))]
    if beside:
        train = levels["train"].name
        lines.append(
            f"not read, since they lie beside '{train}': {_listed(beside)}. A split is called train, val or test; a "
            f"class called '{train}' holds its images directly"
        )
    return tuple(lines)


def class_names(folder: Path) -> list[bytes]:
    """Names of the class folders, sorted. UserError for fewer than two, with what lies there instead."""
    names = class_folders(folder)
    layout = f"Put the images of each class into their own folder: {folder}/CLASS/image.jpg."
    if not names:
        n = _count_images(folder)
        found = f", {n} images are directly in it" if n else " and no images"
        raise UserError(f"no class folders{found}", folder, layout)
    if all(_text(name).lower() in itertools.chain(*LEVELS.values()) for name in names):
        hint = f"Expected {folder}/train/CLASS/image.jpg."
        raise UserError(f"no class folders in {', '.join(map(_text, names))}", folder, hint)
    if len(names) == 1:
        inner = folder / _text(names[0])
        hint = f"Try --data {inner}." if is_class_folders(inner) else layout
        raise UserError(f"only one class folder, '{inner.name}'", folder, hint)
    return names


def refuse_level_too_high(folder: Path, classes: list[bytes]) -> None:
    """UserError if every class folder holds the same folders, and no image itself: these may be the classes."""
    inner = _inner_folders(folder, classes)
    if len(inner) < 2 or (folder / SURE).exists():
        return
    named = {_text(name).lower() for name in inner} <= set(itertools.chain(*LEVELS.values()))
    instead = f"{folder}/train/CLASS/image.jpg" if named else f"--data {folder / _text(classes[0])}"
    raise UserError(
        f"each of {_listed(classes)} holds the same folders: {_listed(inner)}",
        folder,
        f"The classes may be a level deeper: use {instead}. If not, create an empty file {folder / SURE}.",
    )


def _inner_folders(folder: Path, classes: list[bytes]) -> list[bytes]:
    """Names of the folders that every class folder holds. Empty if these differ, or if there are images beside."""
    common: list[bytes] = []
    for name in classes:
        path = folder / _text(name)
        if any(map(_is_image, _scan(os.fsencode(path)))):
            return []
        inner = class_folders(path)
        if not inner or (common and inner != common):
            return []
        common = inner
    return common


def files_by_class(root: Path, folder: Path, classes: list[bytes], passed: PassedOver) -> list[list[bytes]]:
    """Paths below root of each class's images in folder. UserError for a class that is not in `classes`.

    passed: gains what is not read.
    """
    unknown = sorted(set(class_folders(folder)) - set(classes))
    if unknown:
        hint = "A class of val or test must be in train too: a model cannot learn it otherwise."
        raise UserError(f"class '{_text(unknown[0])}' is not in train", folder, hint)
    for entry in _scan(os.fsencode(folder)):
        if entry.is_symlink():
            passed.see(entry)
    files = [class_files(root, folder / _text(name), passed) for name in classes]
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


def class_files(root: Path, folder: Path, passed: PassedOver) -> list[bytes]:
    """Paths below root of all image files in a class's folder and deeper, sorted. Empty without the folder.

    Links to files count, links to folders are not followed: a loop would count images again and again.
    """
    if not _is(folder.is_dir):
        return []
    start, below = os.fsencode(folder), os.fsencode(folder.relative_to(root))
    return sorted(below + path[len(start) :] for path in _walk(start, passed))


def images_below(folder: Path) -> Iterator[Path | UserError]:
    """Yield all image files in a folder and deeper, in bytewise order of their paths, as the walk goes on.

    As class folders are read: hidden names and run directories are passed over, links to folders are not followed. An
    error stands for a folder that cannot be read.
    """
    todo = [os.fsencode(folder) + b"/"]
    while todo:  # no recursion: folders may lie deeper than Python calls
        path = todo.pop()
        if not path.endswith(b"/"):
            yield Path(_text(path))
            continue
        try:
            below = [path + _name_in_order(entry) for entry in _scan(path) if _may_hold_images(entry)]
            todo += sorted(below, reverse=True)
        except UserError as error:
            yield error


def _name_in_order(entry: os.DirEntry[bytes]) -> bytes:
    """A folder's with its slash: whole paths are in order then."""
    return entry.name + b"/" * entry.is_dir(follow_symlinks=False)


def _may_hold_images(entry: os.DirEntry[bytes]) -> bool:
    return not _is_run(entry.path) if entry.is_dir(follow_symlinks=False) else _is_image(entry)


def class_folders(root: Path) -> list[bytes]:
    """Names of the folders in root that may be classes, sorted. Links to root or above it are left out, and runs."""
    real = os.path.realpath(os.fsencode(root))
    folders = (entry for entry in _scan(os.fsencode(root)) if _is_folder(entry) and not _loops(entry, real))
    return sorted(entry.name for entry in folders if not _is_run(entry.path) and not _holds_runs_alone(entry.path))


def _text(name: bytes) -> str:
    return os.fsdecode(name)


def _listed(names: list[bytes]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"'{_text(name)}'" for name in names[:SHOWN]) + more


def _scan(folder: bytes) -> Iterator[os.DirEntry[bytes]]:
    """What lies in a folder and is not hidden. UserError if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            yield from (e for e in entries if not e.name.startswith(b".") and e.name != b"__MACOSX")
    except OSError as error:
        raise _unreadable(Path(_text(folder)), error) from error


def _unreadable(folder: Path, error: OSError) -> UserError:
    return UserError(f"cannot read the folder: {error.strerror}", folder, "Make it readable, or remove it.")


def _is(kind: Callable[[], bool]) -> bool:
    """Whether a path is of this kind; False for a link to itself and for what nobody may look at."""
    try:
        return kind()
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    """A folder, or a link to one that may be read."""
    return _is(entry.is_dir) and (not entry.is_symlink() or os.access(entry.path, os.R_OK | os.X_OK))


def _loops(entry: os.DirEntry[bytes], root: bytes) -> bool:
    """Whether this is a link to root itself or to a folder above it."""
    if not entry.is_symlink():
        return False
    real = os.path.realpath(entry.path)
    return os.path.commonpath([real, root]) == real


def _is_run(folder: bytes) -> bool:
    """Whether a folder is a run directory: by two of its files, or, if it has only begun, by its lock alone."""
    there = [os.path.lexists(os.path.join(folder, name)) for name in OF_RUNS]  # noqa: PTH118
    return sum(there) > 1 or (there[1] and not any(_scan(folder)))


def _holds_runs_alone(folder: bytes) -> bool:
    """Whether there are run directories in a folder, and no image but theirs. Stops at the first image."""
    found = False
    for entry in _scan(folder):
        run = _is_folder(entry) and _is_run(entry.path)
        if not run and (_is_image(entry) or (_is_folder(entry) and _holds_image(Path(_text(entry.path))))):
            return False
        found = found or run
    return found


def _is_image(entry: os.DirEntry[bytes]) -> bool:
    """A regular file with an image's extension: no FIFO, socket or dangling link."""
    return entry.name.lower().endswith(EXTENSIONS) and _is(entry.is_file)


def _walk(folder: bytes, passed: PassedOver) -> Iterator[bytes]:
    """Yield the images in a folder and deeper, in no order."""
    todo = [folder]
    while todo:
        for entry in _scan(todo.pop()):
            if entry.is_dir(follow_symlinks=False):
                if not _is_run(entry.path):
                    todo.append(entry.path)
            elif _is_image(entry):
                yield entry.path
            else:
                passed.see(entry)


def _holds_image(folder: Path) -> bool:
    """Whether an image lies in a folder or deeper."""
    return any(True for _ in _walk(os.fsencode(folder), PassedOver()))


def _count_images(folder: Path) -> int:
    """How many images lie directly in a folder."""
    return sum(_is_image(entry) for entry in _scan(os.fsencode(folder)))


def _holds_classes(folder: Path) -> bool:
    """Whether a folder in this one directly holds an image."""
    paths = (folder / _text(name) for name in class_folders(folder))
    return any(any(map(_is_image, _scan(os.fsencode(path)))) for path in paths)
