"""The loss and accuracy curves of a run, as one SVG file that any browser shows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import jinja2

from ignite_vision.errors import printable
from ignite_vision.system.files import write_atomically
from ignite_vision.training.history import EpochRow

LARGEST = 1e300
WIDTH, HEIGHT, LEFT, TOP = 360, 220, 56, 40  # pixels: of a panel's plot, and the room around it


@dataclasses.dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in pixels."""

    at: float
    label: str


@dataclasses.dataclass(frozen=True)
class Panel:
    """One plot: where it is, its ticks, and its lines as SVG point lists."""

    title: str
    x: float
    xticks: list[Tick]
    yticks: list[Tick]
    train: str
    val: str
    best: tuple[float, float] | None


def write_curves(rows: Sequence[EpochRow], path: Path, title: str) -> None:
    """Draw loss and accuracy of train and validation over the epochs, and what was recorded; a ring marks the best."""
    panels = [panel(rows, "loss", LEFT), panel(rows, "accuracy", 2 * LEFT + WIDTH)]
    recorded = list(dict.fromkeys(name for row in rows for name in row.recorded))
    panels += [recorded_panel(rows, name, (k + 3) * LEFT + (k + 2) * WIDTH) for k, name in enumerate(recorded)]
    environment = jinja2.Environment(loader=jinja2.PackageLoader("ignite_vision.report", "."), autoescape=True)
    svg = environment.get_template("curves.svg").render(
        panels=panels,
        title=printable(title),
        top=TOP,
        width=WIDTH,
        height=HEIGHT,
        total_width=(len(panels) + 1) * LEFT + len(panels) * WIDTH - 20,
    )
    write_atomically(path, svg + "\n")


def panel(rows: Sequence[EpochRow], what: str, x: float) -> Panel:
    """Lay out one plot of `what` ("loss" or "accuracy")."""
    train = [getattr(row, f"train_{what}") for row in rows]
    val = [getattr(row, f"val_{what}") for row in rows]
    return lay_out(rows, what, x, train, val)


def recorded_panel(rows: Sequence[EpochRow], name: str, x: float) -> Panel:
    """Lay out the plot of a number that a handler recorded; epochs without it have no point."""
    return lay_out(rows, name, x, [], [row.recorded.get(name, math.nan) for row in rows])


def lay_out(rows: Sequence[EpochRow], title: str, x: float, train: list[float], val: list[float]) -> Panel:
    """Lay out one plot whose left edge is at x, of a value per epoch in each series; train may be empty."""
    epochs = [row.epoch for row in rows]
    values = nice_ticks(*extent([*train, *val]))
    low, high = values[0], values[-1]
    first, last = epochs[0], max(epochs[-1], epochs[0] + 1)

    def across(epoch: float) -> float:
        return x + WIDTH * (epoch - first) / (last - first)

    def down(value: float) -> float:
        return TOP + HEIGHT * (high - value) / (high - low)

    def line(series: list[float]) -> str:
        return " ".join(f"{across(e):.1f},{down(v):.1f}" for e, v in zip(epochs, series, strict=False) if drawable(v))

    best = next((i for i in reversed(range(len(rows))) if rows[i].best), None)
    return Panel(
        title=title,
        x=x,
        xticks=[Tick(across(e), f"{e:g}") for e in nice_ticks(first, last) if first <= e <= last and e == int(e)],
        yticks=[Tick(down(v), f"{v:g}") for v in values],
        train=line(train),
        val=line(val),
        best=None if best is None or not drawable(val[best]) else (across(epochs[best]), down(val[best])),
    )


def drawable(value: float) -> bool:
    """Whether a value has a place: NaN has none, nor has what is so large that a span of it would be infinite."""
    return abs(value) < LARGEST


def extent(values: Sequence[float]) -> tuple[float, float]:
    """Smallest and largest value that has a place."""
    finite = [v for v in values if drawable(v)] or [0.0, 1.0]
    return min(finite), max(finite)


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover [low, high], some five of them (Heckbert, Graphics Gems 1990)."""
    span = (high - low) or abs(high) or 1.0
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{k * step:.10g}") for k in range(first, max(last, first + 1) + 1)]
