"""The files that hold the numbers of an evaluation."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ignite_vision.errors import NOT_SAVED, UserError
from ignite_vision.evaluation.metrics import confusion
from ignite_vision.evaluation.predictions import Predictions
from ignite_vision.system.files import write_atomically


def write_results(predictions: Predictions, numbers: dict[str, Any], folder: Path) -> None:
    """metrics.json, per_class.csv, confusion.csv and predictions.csv: no time, path of a machine, or host in them.

    UserError (exit 4) when the disk does not take them.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_all(predictions, numbers, folder)
    except OSError as error:
        reason = f"the results cannot be written: {error.strerror}"
        raise UserError(reason, folder, "Free some space and run the same command again.", code=NOT_SAVED) from error


def _write_all(predictions: Predictions, numbers: dict[str, Any], folder: Path) -> None:
    columns = ("n", "precision", "recall", "f1", "accuracy")
    per_class = [(name, *(row.get(c, "") for c in columns)) for name, row in numbers["per_class"].items()]
    write_atomically(folder / "per_class.csv", as_csv([("class", *columns), *per_class]))
    write_atomically(folder / "confusion.csv", as_csv([("true", "predicted", "count"), *confusion(predictions)]))
    write_atomically(folder / "predictions.csv", as_csv(prediction_rows(predictions)))
    # last: whoever finds metrics.json finds the others too
    write_atomically(folder / "metrics.json", json.dumps(json_plain(numbers), indent=2, allow_nan=False) + "\n")


def json_plain(numbers: dict[str, Any]) -> dict[str, Any]:
    """The same with None for what is not finite: JSON has no NaN."""
    return {name: None if _is_odd(value) else value for name, value in numbers.items()}


def _is_odd(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def prediction_rows(predictions: Predictions) -> Iterator[tuple[Any, ...]]:
    """Yield a header; for each image its id, class, predicted class, that one's probability, whether it is right."""
    names = predictions.classes
    labels, targets = predictions.labels, predictions.targets
    sure = predictions.probabilities.gather(1, labels[:, None])[:, 0]
    rows = zip(predictions.ids, targets.tolist(), labels.tolist(), sure.tolist(), strict=True)
    yield "path", "class", "predicted", "probability", "correct"
    for i, t, p, q in rows:
        yield i, names[t], names[p], f"{q:.6f}", int(t == p)


def as_csv(rows: Iterable[tuple[Any, ...]]) -> str:
    """Return rows as the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
