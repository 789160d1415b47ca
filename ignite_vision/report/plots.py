"""The charts of the report as numbers: places in a picture's own units. The template draws them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ignite_vision.evaluation.intervals import wilson
from ignite_vision.report.curves import drawable, extent, nice_ticks
from ignite_vision.training.history import EpochRow

LEFT, RIGHT, TOP, BOTTOM = 48, 14, 12, 36  # room around a plot
BINS = 10  # of confidence, in the diagram
POWERS = 1000  # largest value as a multiple of the smallest from which on an axis has powers of ten
SHARES = 120  # places of the coverage curve


@dataclasses.dataclass(frozen=True)
class Plot:
    """Axes of a picture: two linear scales. x, y: their ends; ticks: (value, label) on each."""

    x: tuple[float, float]
    y: tuple[float, float]
    xticks: Sequence[tuple[float, str]]
    yticks: Sequence[tuple[float, str]]
    xlabel: str
    width: int = 420
    height: int = 240
    powers: bool = False
    """The y axis has powers of ten at equal distances; its ends and ticks are above 0."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of what is drawn in."""
        return LEFT, TOP, self.width - RIGHT, self.height - BOTTOM

    def across(self, value: float) -> float:
        """Place of a value on the x axis."""
        left, _, right, _ = self.box
        return round(left + (right - left) * (value - self.x[0]) / (self.x[1] - self.x[0]), 1)

    def down(self, value: float) -> float:
        """Place of a value on the y axis."""
        _, top, _, bottom = self.box
        low, high, at = (math.log10(v) if self.powers else v for v in (*self.y, value))
        return round(top + (bottom - top) * (high - at) / (high - low), 1)

    def line(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """Points of a polyline; what has no place is left out."""
        pairs = zip(xs, ys, strict=True)
        return " ".join(f"{self.across(a)},{self.down(b)}" for a, b in pairs if drawable(b))


@dataclasses.dataclass(frozen=True)
class Curve:
    """A number by epoch: of training (perhaps none) and of validation. best: the place of the epoch that was kept."""

    title: str
    plot: Plot
    train: str
    val: str
    best: tuple[float, float] | None
    stopped: float | None
    """Where on the x axis patience or a handler ended the training."""


@dataclasses.dataclass(frozen=True)
class Bin:
    """Images of about the same confidence: how sure, how often right with its interval, in place and in words."""

    x: float
    y: float
    low: float
    high: float
    radius: float
    n: int
    confidence: float
    accuracy: float


def percent(value: float | None, digits: int = 1) -> str:
    """`93.1 %`, with a narrow space that does not break; a dash for what is not known or finite."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}\u202f%"


def curves(rows: Sequence[EpochRow]) -> list[Curve]:
    """Loss, accuracy, and each number that a handler recorded, by epoch."""
    loss, accuracy = (
        ([getattr(row, f"train_{what}") for row in rows], [getattr(row, f"val_{what}") for row in rows])
        for what in ("loss", "accuracy")
    )
    found = [curve(rows, "Loss", *loss), curve(rows, "Accuracy", *accuracy)]
    recorded = dict.fromkeys(name for row in rows for name in row.recorded)
    return found + [curve(rows, name, [], [row.recorded.get(name, math.nan) for row in rows]) for name in recorded]


def curve(rows: Sequence[EpochRow], title: str, train: list[float], val: list[float]) -> Curve:
    """Lay out one: a value per epoch in each series; train may be empty."""
    epochs = [row.epoch for row in rows]
    low, high = extent([*train, *val])
    powers = low > 0 and high > POWERS * low
    ticks = decades(low, high) if powers else nice_ticks(low, high)
    first, last = epochs[0], max(epochs[-1], epochs[0] + 1)
    whole = [e for e in nice_ticks(first, last) if e == int(e) and first <= e <= last]
    plot = Plot(
        (first, last),
        (ticks[0], ticks[-1]),
        [(e, f"{e:g}") for e in whole],
        [
            (v, percent(v, 0 if (ticks[1] - ticks[0]) >= 0.01 else 1) if title == "Accuracy" else f"{v:g}")
            for v in ticks
        ],
        "epoch",
        powers=powers,
    )
    best = next((k for k in reversed(range(len(rows))) if rows[k].best), None)
    place = None if best is None or not drawable(val[best]) else (plot.across(epochs[best]), plot.down(val[best]))
    stopped = plot.across(epochs[-1]) if rows[-1].stopped else None
    return Curve(title, plot, plot.line(epochs, train) if train else "", plot.line(epochs, val), place, stopped)


def decades(low: float, high: float) -> list[float]:
    """Powers of ten that cover [low, high], which are above 0."""
    return [10.0**k for k in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def reliability_plot() -> Plot:
    """Axes of confidence against accuracy."""
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    return Plot(
        (0, 1),
        (0, 1),
        [(v, f"{100 * v:.0f}") for v in ticks],
        [(v, percent(v, 0)) for v in ticks],
        "how sure it is, %",
        height=300,
    )


def reliability(confidence: np.ndarray, right: np.ndarray, plot: Plot) -> list[Bin]:
    """How often it is right by how sure it is. (N,) confidences in [0,1], (N,) bool -> a bin for each tenth."""
    tenth = np.minimum((confidence * BINS).astype(int), BINS - 1)
    found = []
    for k in np.unique(tenth):
        here = tenth == k
        n, hits = int(here.sum()), int(right[here].sum())
        sure, (low, high) = float(confidence[here].mean()), wilson(hits, n)
        radius = round(3 + 9 * math.sqrt(n / len(right)), 1)
        place = plot.across(sure), plot.down(hits / n), plot.down(low), plot.down(high)
        found.append(Bin(*place, radius, n, sure, hits / n))
    return found


def coverage(confidence: np.ndarray, right: np.ndarray) -> tuple[Plot, str]:
    """Accuracy on the images that it is surest of, by their share: axes and a polyline."""
    order = np.argsort(-confidence, kind="stable")
    n = len(order)
    accuracy = np.cumsum(right[order]) / np.arange(1, n + 1)
    places = np.unique(np.linspace(min(max(1, n // 20), n), n, SHARES).round().astype(int))
    low = min(accuracy[places - 1].min(), 0.95)
    ticks = [t for t in nice_ticks(low, 1.0) if t <= 1]
    shares = [0, 0.25, 0.5, 0.75, 1]
    plot = Plot(
        (0, 1),
        (ticks[0], 1.0),
        [(v, f"{100 * v:.0f}") for v in shares],
        [(v, percent(v, 0 if (ticks[1] - ticks[0]) >= 0.01 else 1)) for v in ticks],
        "answered, % of the images, surest first",
        height=300,
    )
    return plot, plot.line((places / n).tolist(), accuracy[places - 1].tolist())
