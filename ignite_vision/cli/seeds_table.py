"""What `run --seeds` prints at the end: each seed, their mean, and how far they are apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ignite_vision.cli.console import aligned

if TYPE_CHECKING:
    from ignite_vision.seeds import Spread

COLUMNS = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "macro_f1": "macro F1", "loss": "loss"}


def lines(found: Spread) -> Iterator[str]:
    """Yield a line for each seed, their mean and standard deviation, where they are, and what to do next."""
    rows = [["seed", *COLUMNS.values(), "best epoch"]]
    for run in found.runs:
        epochs = f"{run.metrics['epoch']} of {run.metrics['epochs']}"
        rows.append([str(run.seed), *(f"{run.metrics[name]:.4f}" for name in COLUMNS), epochs])
    rows.append(["mean", *(f"{found.mean(name):.4f}" for name in COLUMNS)])
    rows.append(["spread", *(f"{found.deviation(name):.4f}" for name in COLUMNS)])
    yield from aligned(rows)
    first = found.runs[0].metrics
    n, seeds = first["n"], len(found.runs)
    yield f"{first['split']}, {n:,} images; spread: standard deviation over {seeds} seeds"
    if all(len(set(found.values(name))) == 1 for name in COLUMNS):
        yield "the seed changed nothing: this training draws nothing at random (--set split_seed=N draws other splits)"
    yield f"results: {found.folder.results}"
    yield f"next: ignite-vision compare {found.folder} OTHER, or ignite-vision report {found.runs[0].directory}"
