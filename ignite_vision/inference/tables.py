"""Answers as text, line by line: a table for people, CSV and JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ignite_vision.errors import printable
from ignite_vision.inference.answers import Answer
from ignite_vision.system.files import csv_text

UNKNOWN = "unknown"  # the answer below the threshold
MOST_WIDE = 30  # characters of a class name in the table


@dataclasses.dataclass(frozen=True)
class Row:
    """An answer in words. answer: the most probable class, or `unknown`. top: (class, probability), best first.

    Of an image that cannot be read there is an error alone.
    """

    path: str
    answer: str = ""
    top: tuple[tuple[str, float], ...] = ()
    error: str = ""


def row_of(answer: Answer, classes: Sequence[str], top: int, threshold: float | None) -> Row:
    """Put an answer in words, with its `top` most probable classes. threshold: the answer is `unknown` below it."""
    path = answer.path or ""
    if answer.probabilities is None:
        return Row(path, error=answer.error or "")
    best = np.argsort(-answer.probabilities, kind="stable")[:top]  # of equal ones the first, as argmax
    named = tuple((classes[i], float(answer.probabilities[i])) for i in best)
    sure = threshold is None or named[0][1] >= threshold
    return Row(path, named[0][0] if sure else UNKNOWN, named)


def table(rows: Iterable[Row], classes: Sequence[str], top: int) -> Iterator[str]:
    """Yield a line for people for each row: answer, probabilities, path. No control character comes through."""
    names = [shortened(name) for name in classes]
    width = max(len(name) for name in (*names, UNKNOWN))
    for row in rows:
        yield (broken_line(row, width) if row.error else table_line(row, width if top > 1 else 0, width)) + "\n"


def table_line(row: Row, named: int, width: int) -> str:
    """`cat       97.3 %  photos/1.jpg`; with columns of `named` characters for the classes, these too."""
    cells = (f"{p * 100:5.1f} %" + f" {shortened(name):<{named}}" * (named > 0) for name, p in row.top)
    return f"{shortened(row.answer):<{width}}  {'  '.join(cells)}  {printable(row.path)}"


def broken_line(row: Row, width: int) -> str:
    """`error    photos/2.jpg: cannot read image: the file is cut off`."""
    return f"{'error':<{width}}  {printable(row.path)}: {row.error}"


def shortened(name: str) -> str:
    """A class name that fits into the table."""
    name = printable(name)
    return name if len(name) <= MOST_WIDE else name[: MOST_WIDE - 1] + "…"


def csv_lines(rows: Iterable[Row], classes: Sequence[str], top: int) -> Iterator[str]:
    """Yield a header and each row: path, answer, predicted, probability, predicted_2, probability_2, …, error.

    predicted and probability are as in predictions.csv.
    """
    top = min(top, len(classes))
    more = [f"{name}_{k}" for k in range(2, top + 1) for name in ("predicted", "probability")]
    yield csv_text([["path", "answer", "predicted", "probability", *more, "error"]])
    for row in rows:
        cells = [cell for name, probability in row.top for cell in (name, f"{probability:.6f}")]
        yield csv_text([[row.path, row.answer, *(cells or [""] * 2 * top), row.error]])


def plain(row: Row) -> dict[str, Any]:
    """A row as JSON has it. Bytes of a path that are no UTF-8 are written as Python's surrogates."""
    if row.error:
        return {"path": row.path, "error": row.error}
    top = [{"class": name, "probability": round(probability, 6)} for name, probability in row.top]
    return {"path": row.path, "answer": row.answer, "top": top}


def jsonl_lines(rows: Iterable[Row], classes: Sequence[str], top: int) -> Iterator[str]:
    """Yield a JSON object a line."""
    del classes, top
    return (json.dumps(plain(row)) + "\n" for row in rows)


def json_lines(rows: Iterable[Row], classes: Sequence[str], top: int) -> Iterator[str]:
    """Yield one JSON array of these objects, one on each line."""
    del classes, top
    before = "["
    for row in rows:
        yield f"{before}\n{json.dumps(plain(row))}"
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


FORMATS: dict[str, Callable[[Iterable[Row], Sequence[str], int], Iterator[str]]] = {
    "table": table,
    "csv": csv_lines,
    "json": json_lines,
    "jsonl": jsonl_lines,
}
