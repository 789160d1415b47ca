"""One HTML file that says how good a classifier is, where it is wrong and why. It asks no network for anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.data.splits import Splits
from ignite_vision.evaluation.counts import confusion_matrix
from ignite_vision.evaluation.intervals import wilson
from ignite_vision.evaluation.label_errors import Suspect
from ignite_vision.evaluation.predictions import Predictions, calibrated
from ignite_vision.health.duplicates import Row
from ignite_vision.report.confusions import confusions
from ignite_vision.report.embedding import embed
from ignite_vision.report.findings import findings
from ignite_vision.report.galleries import Heat, galleries, suspect_cards
from ignite_vision.report.plots import coverage, curves, reliability, reliability_plot
from ignite_vision.report.template import filled
from ignite_vision.report.twins import twins
from ignite_vision.training.history import EpochRow

FINDABLE = 12  # classes from which on they can be searched


@dataclasses.dataclass(frozen=True)
class Evidence:
    """All that a report is made of. Its last section alone has what differs between machines and moments."""

    title: str
    subtitle: str
    numbers: dict[str, Any]
    """metrics.json, of the test split."""
    predictions: Predictions
    splits: Splits
    preprocessing: Preprocessing
    history: Sequence[EpochRow]
    features: torch.Tensor
    """(N,D) of the test images, for the map."""
    heat: Heat | None
    """None where the network has no map of positions."""
    of_tokens: bool
    """Whether its positions are tokens, as a vision transformer's, which have attended to each other."""
    suspects: Sequence[Suspect]
    judged: str
    """Whose labels were judged, and by what."""
    check: dict[str, Any] | None
    """check.json, if the data were checked."""
    pairs: Sequence[Row] | None
    """Near-identical images, if they are known."""
    facts: Sequence[tuple[str, str]]
    command: str
    environment: Sequence[tuple[str, str]]
    recipe: str
    seed: int


def render(evidence: Evidence) -> str:
    """Return the page. Names of classes and files are text in it, whatever they hold."""
    return filled("page.html", ("page.css",), {}, e=evidence, FINDABLE=FINDABLE, **_content(evidence))


def _content(evidence: Evidence) -> dict[str, Any]:
    """What the template draws, section by section."""
    predictions, numbers = evidence.predictions, evidence.numbers
    names, targets, labels = predictions.classes, predictions.targets.numpy(), predictions.labels.numpy()
    counts = confusion_matrix(predictions)
    confused = confusions(counts, predictions.probabilities.numpy(), targets, names)
    classes = class_rows(numbers, counts, names)
    typical = confused.order if confused.rows is not None else [row["place"] for row in classes]
    test = evidence.splits.test
    return {
        "findings": findings(numbers, evidence.history, confused.pairs, evidence.suspects, evidence.check),
        "right": int((targets == labels).sum()),
        "best": next((row for row in reversed(evidence.history) if row.best), evidence.history[-1]),
        "curves": curves(evidence.history),
        **_confidence(predictions),
        "confused": confused,
        "classes": classes,
        "shown": galleries(predictions, test, evidence.preprocessing, evidence.heat, typical),
        "doubted": suspect_cards(evidence.suspects, evidence.splits.__getitem__),
        "twins": twins(evidence.pairs or [], evidence.splits),
        "map": embed(evidence.features, predictions, test, evidence.seed),
    }


def _confidence(predictions: Predictions) -> dict[str, Any]:
    right = (predictions.labels == predictions.targets).numpy()
    raw, sure = (
        np.nan_to_num(probabilities.max(1).values.numpy())
        for probabilities in (calibrated(predictions.logits, 1.0), predictions.probabilities)
    )
    plot = reliability_plot()
    return {
        "plot": plot,
        "before": reliability(raw, right, plot),
        "after": reliability(sure, right, plot),
        "coverage": coverage(sure, right),
    }


def class_rows(numbers: dict[str, Any], counts: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row of the table of classes for each that has images, the weakest first. counts: (C,C)."""
    rows = []
    for place, name in enumerate(names):
        row = numbers["per_class"].get(name, {"n": 0})
        if not row["n"]:
            continue
        interval = row.get("interval") or wilson(int(counts[place, place]), int(counts[place].sum()))
        mistaken = np.where(np.arange(len(names)) == place, 0, counts[place])
        other = int(mistaken.argmax())
        wrong = {"other": names[other] if mistaken[other] else "", "times": int(mistaken[other])}
        rows.append({**row, "place": place, "name": name, "interval": interval, **wrong})
    return sorted(rows, key=lambda row: (row["accuracy"], -row["n"], row["place"]))
