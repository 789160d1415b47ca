"""The files that hold the numbers of an evaluation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ignite_vision.evaluation.metrics import confusion
from ignite_vision.evaluation.predictions import Predictions
from ignite_vision.system.files import csv_text, keeping, write_atomically

MOST = 5  # classes that predictions.csv names for an image


def write_results(predictions: Predictions, numbers: dict[str, Any], folder: Path) -> None:
    """metrics.json, per_class.csv, confusion.csv, coverage.csv and predictions.csv: no time, path or host in them.

    UserError (exit 4) when the disk does not take them.
    """
    with keeping("the results", folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "per_class.csv", csv_text(class_rows(numbers["per_class"])))
        write_atomically(folder / "coverage.csv", csv_text(coverage_rows(numbers["coverage"])))
        write_atomically(folder / "confusion.csv", csv_text([("true", "predicted", "count"), *confusion(predictions)]))
        write_atomically(folder / "predictions.csv", csv_text(prediction_rows(predictions)))
        # last: whoever finds metrics.json finds the others too
        write_atomically(folder / "metrics.json", json.dumps(json_plain(numbers), indent=2, allow_nan=False) + "\n")


def json_plain(numbers: dict[str, Any]) -> dict[str, Any]:
    """The same with None for what is not finite: JSON has no NaN."""
    return {name: _plain(value) for name, value in numbers.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return json_plain(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def class_rows(per_class: dict[str, dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield a header; for each class its numbers, nothing where they are undefined."""
    columns = ("n", "precision", "recall", "f1", "accuracy")
    more = ("specificity", "roc_auc", "average_precision")
    yield "class", *columns, "low", "high", *more
    for name, row in json_plain(per_class).items():
        ends = row.get("interval", ("", ""))
        yield name, *(row.get(c, "") for c in columns), *ends, *(row.get(c, "") for c in more)


def coverage_rows(coverage: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield a header; for each share of validation images its threshold, and what comes of it on these images."""
    yield "share", "threshold", "n", "accuracy", "low", "high"
    for row in coverage:
        yield row["share"], row["threshold"], row["n"], row["accuracy"], *row["interval"]


def prediction_rows(predictions: Predictions) -> Iterator[tuple[Any, ...]]:
    """Yield a header; for each image its id, class, predicted class, that one's probability, whether it is right.

    Then the probability of its own class, and the next classes that the model thinks of, up to the fifth.
    """
    names, probabilities = predictions.classes, predictions.probabilities
    labels, targets = predictions.labels, predictions.targets
    sure, own = (probabilities.gather(1, which[:, None])[:, 0] for which in (labels, targets))
    seconds = next_classes(predictions)
    yield "path", "class", "predicted", "probability", "correct", "p_class", *_places(seconds.shape[1])
    columns = (targets, labels, sure, own, seconds)
    for i, t, p, q, o, after in zip(predictions.ids, *(column.tolist() for column in columns), strict=True):
        yield i, names[t], names[p], f"{q:.6f}", int(t == p), f"{o:.6f}", *(names[k] for k in after)


def next_classes(predictions: Predictions) -> torch.Tensor:
    """(N,k) int64: the classes after the predicted one, by logit; k is 4, or what there is. Equals by class order."""
    k = min(MOST, len(predictions.classes)) - 1
    others = predictions.logits.scatter(1, predictions.labels[:, None], -math.inf)
    return others.sort(dim=1, descending=True, stable=True).indices[:, :k]


def _places(k: int) -> list[str]:
    return [f"top{place}" for place in range(2, k + 2)]
