"""The files that hold the numbers of an evaluation."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ignite_vision.evaluation.metrics import confusion
from ignite_vision.evaluation.predictions import Predictions
from ignite_vision.system.files import write_atomically


def write_results(predictions: Predictions, numbers: dict[str, Any], folder: Path) -> None:
    """metrics.json, per_class.csv, confusion.csv and predictions.csv: no time, path of a machine, or host in them."""
    columns = ("n", "precision", "recall", "f1", "accuracy")
    per_class = [(name, *(row.get(c, "") for c in columns)) for name, row in numbers["per_class"].items()]
    write_atomically(folder / "per_class.csv", _csv([("class", *columns), *per_class]))
    write_atomically(folder / "confusion.csv", _csv([("true", "predicted", "count"), *confusion(predictions)]))
    write_atomically(folder / "predictions.csv", _csv(prediction_rows(predictions)))
    # last: whoever finds metrics.json finds the others too
    write_atomically(folder / "metrics.json", json.dumps(numbers, indent=2) + "\n")


def prediction_rows(predictions: Predictions) -> Iterator[tuple[Any, ...]]:
    """Yield a header; for each image its id, class, predicted class, that one's probability, whether it is right."""
    names = predictions.classes
    labels, targets = predictions.labels, predictions.targets
    sure = predictions.probabilities.gather(1, labels[:, None])[:, 0]
    rows = zip(predictions.ids, targets.tolist(), labels.tolist(), sure.tolist(), strict=True)
    yield "path", "class", "predicted", "probability", "correct"
    for i, t, p, q in rows:
        yield i, names[t], names[p], f"{q:.6f}", int(t == p)


def _csv(rows: Iterable[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
