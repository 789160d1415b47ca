"""One HTML file that says which of several runs is better, and where. It asks no network for anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from ignite_vision.report.curves import drawable, extent, nice_ticks
from ignite_vision.report.plots import Plot, percent
from ignite_vision.report.template import filled
from ignite_vision.report.thumbnails import TINY, thumbnail, webp
from ignite_vision.training.history import EpochRow

COLOURS = 5  # lines of the first settings are told apart; those of the others are grey
LEVELS = {
    "better": ("ok", "Clear"),
    "seeds": ("warn", "Unsure"),
    "images": ("warn", "Unsure"),
    "equal": ("note", "Equal"),
    "unknown": ("note", "Open"),
}


@dataclasses.dataclass(frozen=True)
class Statement:
    """What is said of two runs or settings: words, the name of the verdict, the difference in fractions, interval.

    Of the other's accuracy less the one's; the words name the better first.
    """

    one: str
    other: str
    words: str
    verdict: str
    difference: float
    interval: tuple[float, float]

    @property
    def level(self) -> tuple[str, str]:
        """How it is shown: a class of the style sheet, and a word."""
        return LEVELS[self.verdict]

    @property
    def headline(self) -> float:
        """The difference with the sign that the words give it."""
        return self.difference if self.verdict in ("equal", "unknown") else abs(self.difference)


@dataclasses.dataclass(frozen=True)
class Row:
    """A run: its accuracy and interval, in fractions, the number of its setting, and its history."""

    name: str
    accuracy: float
    interval: tuple[float, float]
    setting: int
    history: Sequence[EpochRow]


@dataclasses.dataclass(frozen=True)
class ClassRow:
    """A class under two runs. chance: corrected for the number of classes."""

    name: str
    n: int
    one: float
    other: float
    chance: float


@dataclasses.dataclass(frozen=True)
class Shot:
    """An image that two runs answered differently. src: a data URI, or None where the image is not at hand."""

    id: str
    label: str
    one: str
    other: str
    src: str | None = None
    width: int = 0
    height: int = 0
    tiny: bool = False


@dataclasses.dataclass(frozen=True)
class Duel:
    """Two runs, in detail: their classes, and the images that one of them alone has right; the first few, of how many.

    noise: chance from which on a class's difference is called noise.
    """

    one: str
    other: str
    classes: Sequence[ClassRow]
    gained: Sequence[Shot]
    lost: Sequence[Shot]
    numbers: tuple[int, int]
    noise: float


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """All that the page is made of. statements: at least one, the first one is the verdict."""

    title: str
    n: int
    statements: Sequence[Statement]
    rows: Sequence[Row]
    settings: dict[str, list[str]]
    duels: Sequence[Duel]
    note: str
    """Why there are no pictures, or nothing."""

    def share(self, accuracy: float) -> float:
        """Place of an accuracy between the lowest and the highest end of an interval, in percent."""
        low, high = min(row.interval[0] for row in self.rows), max(row.interval[1] for row in self.rows)
        return round(100 * (accuracy - low) / max(high - low, 1e-9), 2)


@dataclasses.dataclass(frozen=True)
class Overlay:
    """A number by epoch under each run, one line over the other: (colour, points, name, last value in words)."""

    title: str
    plot: Plot
    lines: Sequence[tuple[str, str, str, str]]


def shot(image: torch.Tensor, id: str, label: str, one: str, other: str) -> Shot:
    """Make one with its picture. image: (C,H,W) uint8."""
    picture = thumbnail(image)
    return Shot(id, label, one, other, webp(picture), picture.width, picture.height, max(picture.size) <= TINY)


def render(exhibit: Exhibit) -> str:
    """Return the page. Names of classes, files, settings and runs are text in it, whatever they hold."""
    return filled(
        "compare_page.html",
        ("page.css", "compare_page.css"),
        {"colour": colour, "points": points},
        e=exhibit,
        overlays=overlays(exhibit.rows),
    )


def colour(setting: int) -> str:
    """Class of the style sheet for what is of a setting."""
    return f"line{setting if setting < COLOURS else 'x'}"


def points(fraction: float) -> str:
    """`+2.5`, of percent; 0.0 has no sign."""
    text = f"{100 * fraction:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "\u2212")


def overlays(rows: Sequence[Row]) -> list[Overlay]:
    """Validation accuracy and loss by epoch; nothing where no run has a history."""
    rows = [row for row in rows if row.history]
    return [
        overlay(title, field, rows) for title, field in (("Accuracy", "val_accuracy"), ("Loss", "val_loss")) if rows
    ]


def overlay(title: str, field: str, rows: Sequence[Row]) -> Overlay:
    """Lay out one of them."""
    series = [[getattr(epoch, field) for epoch in row.history] for row in rows]
    low, high = extent([value for values in series for value in values])
    ticks, share = nice_ticks(low, high), title == "Accuracy"
    last = max(2, *(row.history[-1].epoch for row in rows))
    digits = 0 if ticks[1] - ticks[0] >= 0.01 else 1
    plot = Plot(
        (1, last),
        (ticks[0], ticks[-1]),
        [(e, f"{e:g}") for e in nice_ticks(1, last) if e == int(e) and 1 <= e <= last],
        [(v, percent(v, digits) if share else f"{v:g}") for v in ticks],
        "epoch",
    )
    lines = []
    for row, values in zip(rows, series, strict=True):
        end = values[-1]
        words = (percent(end) if share else f"{end:.3f}") if drawable(end) else "not a number"
        place = plot.line([epoch.epoch for epoch in row.history], values)
        lines.append((colour(row.setting), place, row.name, words))
    return Overlay(title, plot, lines)
