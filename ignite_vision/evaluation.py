"""Predictions of a split, every number made from them, and the files that hold these numbers."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ignite_vision.engines import loss_and_accuracy, make_evaluator
from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.features import source_of
from ignite_vision.history import write_atomically
from ignite_vision.loaders import eval_loader
from ignite_vision.model_file import load_weights, read_header
from ignite_vision.run import Run

TOP_K = 5


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What the model says of a split, in the split's order.

    targets: (N,) int64. logits: (N,C) float32, which is 200 MB for 50,000 images of 1,000 classes.
    """

    ids: tuple[str, ...]
    targets: torch.Tensor
    logits: torch.Tensor
    classes: tuple[str, ...]

    @property
    def probabilities(self) -> torch.Tensor:
        """(N,C) float64; each row sums to one."""
        return self.logits.double().softmax(1)

    @property
    def labels(self) -> torch.Tensor:
        """(N,) int64: the class with the highest probability."""
        return self.logits.argmax(1)


def predict_split(run: Run, split: str) -> Predictions:
    """Run an evaluator of its own over a split: nothing that a recipe hooked to run.evaluator fires."""
    images = getattr(run.splits, split)
    evaluator = make_evaluator(run)
    with contextlib.closing(eval_loader(run, source_of(run, split), images.targets)) as loader:
        evaluator.run(loader)
    state: Any = evaluator.state
    ids = tuple(images.sample_id(i) for i in range(len(images)))
    return Predictions(ids, state.targets, state.logits, run.splits.classes)


def metrics(predictions: Predictions, split: str) -> dict[str, Any]:
    """Every number of metrics.json. Fractions, loss in nats; a class without images in the split has None."""
    from sklearn.metrics import precision_recall_fscore_support

    targets, labels = predictions.targets.numpy(), predictions.labels.numpy()
    classes = predictions.classes
    precision, recall, f1, n = precision_recall_fscore_support(
        targets, labels, labels=range(len(classes)), zero_division=0
    )
    present = n > 0
    numbers = {
        "split": split,
        "n": len(targets),
        **loss_and_accuracy(predictions.logits, predictions.targets),
        "balanced_accuracy": float(recall[present].mean()),
        "macro_f1": float(f1[present].mean()),
    }
    if len(classes) > TOP_K:
        numbers["top5_accuracy"] = top_k_accuracy(predictions, TOP_K)
    # a class's own accuracy is the share of its images that are right: its recall
    rows = zip(classes, n.tolist(), precision.tolist(), recall.tolist(), f1.tolist(), strict=True)
    numbers["per_class"] = {
        name: {"n": count, "precision": p, "recall": r, "f1": f, "accuracy": r} if count else {"n": 0}
        for name, count, p, r, f in rows
    }
    return numbers


def top_k_accuracy(predictions: Predictions, k: int) -> float:
    """Share of images whose class is among the k most probable."""
    best = predictions.logits.topk(k, dim=1).indices
    return (best == predictions.targets[:, None]).any(1).sum().item() / len(predictions.targets)


def confusion(predictions: Predictions) -> list[tuple[str, str, int]]:
    """(true, predicted, count) for every pair that occurs, by class order."""
    c = len(predictions.classes)
    pairs = np.bincount(predictions.targets.numpy() * c + predictions.labels.numpy(), minlength=c * c)
    names = predictions.classes
    return [(names[i // c], names[i % c], int(pairs[i])) for i in np.flatnonzero(pairs)]


def weakest(numbers: dict[str, Any], most: int = 3) -> list[tuple[str, float]]:
    """Return the classes with the lowest accuracy, weakest first, that are below the overall accuracy."""
    rated = [(name, row["accuracy"]) for name, row in numbers["per_class"].items() if row["n"]]
    below = [(name, accuracy) for name, accuracy in rated if accuracy < numbers["accuracy"]]
    return sorted(below, key=lambda pair: pair[1])[:most]


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


def use_best_weights(run: Run) -> None:
    """Load RUN/model.safetensors into the run's model."""
    path = run.directory / "model.safetensors"
    if not path.is_file():
        hint = f"Train it first: ignite-vision resume {run.directory}"
        raise UserError("this run has no model yet", run.directory, hint)
    header = read_header(path)
    if header["classes"] != list(run.splits.classes):
        raise UserError("model.safetensors has other classes than the data", path, code=DAMAGED)
    load_weights(run.model, path)
