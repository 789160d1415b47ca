"""A manifest: one file that lists images with their classes, as CSV, JSON lines or Parquet.

Columns path and class; optional split, group and weight. Others are passed over. Paths are relative to the file and
stay below its folder. Every error names the line.
"""

from __future__ import annotations

import csv
import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ignite_vision.data.containers import ImageFiles
from ignite_vision.data.folders import LEVELS
from ignite_vision.data.groups import by_path, numbered
from ignite_vision.data.splits import NAMES, Splits
from ignite_vision.errors import UserError, did_you_mean

FORMATS = (".csv", ".jsonl", ".parquet")
NEEDED = ("path", "class")
OPTIONAL = ("split", "group", "weight")
LEAST_WEIGHT = 1e-6  # and a million at most: float32 has seven digits
LONGEST_LINE = 1 << 20  # bytes: what is longer is no line of a manifest, and is not read
SPLITS = {word: split for split, words in LEVELS.items() for word in words}
Record = tuple[int, dict[str, Any]]


class Row(NamedTuple):
    """An image of a manifest, checked. line: its number in the file, from 1. Empty texts where nothing is said."""

    line: int
    path: bytes
    label: str
    split: str
    group: str
    weight: float


def is_manifest(path: Path) -> bool:
    """Whether this is a file that `read_manifest` reads, by its name."""
    return path.suffix.lower() in FORMATS and path.is_file()


def read_manifest(path: Path, group_by: str | None = None) -> Splits:
    """Splits of the images that a manifest lists; val and test are None where no row is of that split.

    group_by: the column that says which images belong together (without one: `group`), or a rule on paths, as
    `groups.by_path` has it. Classes are sorted, as those of folders are. UserError that names the line.
    """
    rows: list[Row] = []
    columns: dict[str, None] = {}
    group_column = group_by or "group"
    for line, record in _records(path):
        columns.update(dict.fromkeys(record))
        _refuse_missing(line, record, path)
        rows.append(_row(line, record, group_column, path))
    if not rows:
        raise UserError("no images in this manifest", path, "Write a line for each image: path,class")
    _refuse_repeated(rows, path)
    _refuse_absent(rows, path)
    splits = _splits(rows, path)
    return by_path(splits, group_by, tuple(columns)) if group_by and group_by not in columns else splits


def _splits(rows: list[Row], path: Path) -> Splits:
    """Rows in the file's order, by split."""
    named = [row for row in rows if row.split]
    if named and len(named) < len(rows):
        line = next(row.line for row in rows if not row.split)
        raise _at(line, "no split, though other lines have one", path, "Say train, val or test in all lines, or none.")
    by_split = {name: [row for row in rows if (row.split or "train") == name] for name in NAMES}
    classes = sorted({row.label for row in by_split["train"]}, key=os.fsencode)
    labels = {name: label for label, name in enumerate(classes)}
    for row in rows:
        if row.label not in labels:
            hint = "A class of val or test must be in train too: a model cannot learn it otherwise."
            raise _at(row.line, f"class '{row.label}' is not in train", path, hint)
    groups: dict[str, int] = {}
    images = {name: _images(part, labels, groups, path) for name, part in by_split.items() if part}
    return Splits(classes=tuple(classes), keep_duplicates_together=True, **images)  # type: ignore[arg-type]


def _images(rows: list[Row], labels: dict[str, int], groups: dict[str, int], path: Path) -> ImageFiles:
    """The files of some rows, with groups and weights where a row has one. groups: name -> number, gains new ones."""
    images = ImageFiles(path.parent, [row.path for row in rows], [labels[row.label] for row in rows])
    if any(row.group for row in rows):
        images.groups = numbered([row.group for row in rows], groups)
    if any(row.weight != 1 for row in rows):
        images.weights = torch.tensor([row.weight for row in rows], dtype=torch.float32)
    return images


def _row(line: int, record: dict[str, Any], group_column: str, path: Path) -> Row:
    """Check one record. UserError that names the line."""

    def text(name: str) -> str:
        value = record.get(name)
        return _text(line, name, value, path)

    return Row(
        line,
        _relative(line, text("path"), path),
        _needed(line, "class", text("class"), path),
        _split(line, text("split"), path),
        text(group_column),
        _weight(line, text("weight"), path),
    )


def _text(line: int, name: str, value: Any, path: Path) -> str:
    """A value as text; None is empty. UserError for what is no text or number, or cannot be written down again."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _at(line, f"{name} is {_shown(value)}, not text", path)
    text = str(value)
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise _at(line, f"{name} holds characters that no text has", path, "Save the file as UTF-8.")
    return text


def _needed(line: int, name: str, text: str, path: Path) -> str:
    if not text.strip():
        raise _at(line, f"no {name}", path)
    return text


def _relative(line: int, text: str, path: Path) -> bytes:
    """A path below the manifest's folder, without what changes nothing in it (`./`, `//`)."""
    parts = _needed(line, "path", text, path).replace(os.sep, "/").split("/")
    if text.startswith("/") or Path(text).is_absolute() or ".." in parts:
        hint = f"Paths are relative to the manifest's folder, {path.parent}, and stay below it."
        raise _at(line, f"the path '{text}' leads out of the folder", path, hint)
    kept = [part for part in parts if part not in ("", ".")]
    if not kept:
        raise _at(line, f"'{text}' is no image", path)
    return os.fsencode("/".join(kept))


def _split(line: int, text: str, path: Path) -> str:
    word = text.strip().lower()
    if word and word not in SPLITS:
        raise _at(line, f"no split '{text}'", path, f"Splits are {', '.join(NAMES)}.")
    return SPLITS.get(word, "")


def _weight(line: int, text: str, path: Path) -> float:
    """What an image weighs in the training loss: above 0, and 1 where nothing is said."""
    try:
        weight = float(text.strip() or 1)
    except ValueError:
        weight = math.nan
    if not LEAST_WEIGHT <= weight <= 1 / LEAST_WEIGHT:
        raise _at(line, f"the weight is '{text}', not a number above 0", path, "Remove lines that count nothing.")
    return weight


def _refuse_missing(line: int, record: dict[str, Any], path: Path) -> None:
    """UserError for a record without the columns that are needed."""
    missing = next((name for name in NEEDED if name not in record), None)
    if missing:
        names = [str(name)[:40] for name in list(record)[:8]]
        hint = f"{did_you_mean(missing, names)} Columns are separated by commas; found: {', '.join(names)}.".lstrip()
        raise _at(line, f"no column '{missing}'", path, hint)


def _refuse_repeated(rows: list[Row], path: Path) -> None:
    """UserError for an image that two lines name."""
    first: dict[bytes, Row] = {}
    for row in rows:
        before = first.setdefault(row.path, row)
        if before is not row:
            name = os.fsdecode(row.path)
            two = f"'{before.label}' (line {before.line}) and '{row.label}'"
            what = f"is in line {before.line} already" if before.label == row.label else f"has two classes, {two}"
            raise _at(row.line, f"'{name}' {what}", path, "Keep one of the lines.")


def _refuse_absent(rows: list[Row], path: Path) -> None:
    """UserError for a line whose image is not there, or is no regular file."""
    root = os.fsencode(path.parent)
    for row in rows:
        try:
            regular = stat.S_ISREG(os.stat(os.path.join(root, row.path)).st_mode)  # noqa: PTH116, PTH118
            reason = "is not a regular file"
        except OSError as error:
            regular, reason = False, f"cannot be read: {error.strerror}"
        if not regular:
            raise _at(row.line, f"'{os.fsdecode(row.path)}' {reason}", path, "Restore it, or remove the line.")


def _records(path: Path) -> Iterator[Record]:
    """(line, column -> value) of every row. UserError if the file cannot be read as what its name says."""
    read = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix.lower()]
    try:
        yield from read(path)
    except OSError as error:
        raise UserError(f"cannot read the manifest: {error.strerror or error}", path, "Check --data.") from error


def _csv(path: Path) -> Iterator[Record]:
    reader = csv.DictReader(_lines(path), strict=True)
    try:
        names = list(reader.fieldnames or [])
        for name in (*NEEDED, *OPTIONAL):
            if names.count(name) > 1:
                raise _at(1, f"two columns are called '{name}'", path, "Rename one.")
        for record in reader:
            if None in record or None in record.values():
                raise _at(reader.line_num, f"not {len(names)} fields, as line 1 has", path)
            yield reader.line_num, record
    except csv.Error as error:
        raise _at(reader.reader.line_num, f"no CSV: {error}", path) from error


def _jsonl(path: Path) -> Iterator[Record]:
    for line, text in enumerate(_lines(path), 1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _at(line, "no JSON", path, 'Write an object in each line: {"path": ..., "class": ...}.') from error
        if not isinstance(record, dict):
            raise _at(line, f"{_shown(record)} is no object", path, 'Write {"path": ..., "class": ...}.')
        yield line, record


def _parquet(path: Path) -> Iterator[Record]:
    try:
        import pyarrow  # type: ignore[import-not-found,unused-ignore]
        import pyarrow.parquet  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise UserError("reading Parquet needs pyarrow", path, "Run: pip install pyarrow, or save as CSV.") from error
    try:
        batches = pyarrow.parquet.ParquetFile(path).iter_batches()
        yield from enumerate((record for batch in batches for record in batch.to_pylist()), 1)
    except (pyarrow.ArrowException, ValueError) as error:
        raise UserError(f"no Parquet: {_shown(error)}", path, "Write it again.") from error


def _lines(path: Path) -> Iterator[str]:
    """Lines of UTF-8 text with their ends, one at a time, whatever the size of the file. UserError for others."""
    with path.open("rb") as file:
        line = 0
        while data := file.readline(LONGEST_LINE + 1):
            line += 1
            if len(data) > LONGEST_LINE:
                raise _at(line, f"longer than {LONGEST_LINE:,} bytes", path, "A line is one image.")
            try:
                text = data.decode("utf-8-sig" if line == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise _at(line, "not UTF-8", path, "Save the file as UTF-8.") from error
            if "\0" in text:
                raise _at(line, "a NUL character", path, "Save the file as UTF-8.")
            yield text


def _shown(value: Any) -> str:
    """The beginning of a value's text."""
    return " ".join(str(value).split())[:60]


def _at(line: int, what: str, path: Path, next_step: str = "Correct the line.") -> UserError:
    return UserError(f"line {line}: {what}", path, next_step)
