"""What `probe` prints: a table, what is noise in it, and the command that trains the best."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ignite_vision.cli.console import aligned
from ignite_vision.evaluation.intervals import NOISE
from ignite_vision.models import with_absolute_paths
from ignite_vision.models.licences import concern
from ignite_vision.probing import Probe, Probed
from ignite_vision.recipe import Recipe

HEADER = ("model", "accuracy", "95 % interval", "features", "per image", "weights", "licence")


def lines(found: Probe, command: str) -> Iterator[str]:
    """Yield the table, the best first, and what follows from it. command: trains the best."""
    yield from aligned([HEADER, *(row(one) for one in found.found)])
    n = len(found.best.judged.right)
    how = "cross-validated on training and validation" if found.cross_validated else "on validation"
    yield f"accuracy {how}, {n:,} images; the test split was not looked at"
    yield from (f"not tried: {model}: {reason}" for model, reason in found.skipped.items())
    yield from differences(found)
    if sentence := concern(found.best.licence):
        yield f"warning: {found.best.model}: {sentence}"
    yield f"next: {command}"


def row(one: Probed) -> tuple[str, ...]:
    """Cells of a line of the table."""
    low, high = one.interval
    features = "there" if one.feature_seconds is None else f"{one.feature_seconds:.0f} s"
    return (
        one.model,
        f"{one.judged.accuracy:.3f}",
        f"{low:.3f} to {high:.3f}",
        features,
        f"{1000 * one.image_seconds:.1f} ms",
        f"{one.megabytes:.0f} MB",
        one.licence or "unknown",
    )


def differences(found: Probe) -> Iterator[str]:
    """Say which models differ from the best by no more than noise, and which of these is faster."""
    noise = [one.model for one in found.found[1:] if found.chance(one) > NOISE]
    if noise:
        yield f"within noise of {found.best.model}, by the images that one of two has right: {', '.join(noise)}"
    faster = found.as_good()
    if faster:
        times = found.best.image_seconds / faster.image_seconds
        yield f"as good as can be told, and {times:.1f} times as fast: {faster.model}"


def run_command(name: str, one: Probed, recipe: Recipe, data: Path | None, overrides: Mapping[str, str]) -> str:
    """Return the command that trains this model, as it was judged, on the same images; its features are there now.

    name: of the data, as it was typed. recipe: its own. data, overrides: as they were given.
    """
    settings = {"model": one.model}
    if one.weights != "DEFAULT" or recipe.weights != "DEFAULT":
        settings["weights"] = with_absolute_paths(one.model, one.weights)
    if recipe.trainable != "head":
        settings["trainable"] = "head"
    if recipe.head == "optimizer":
        settings["head"] = "auto"
    words = [] if data is None else ["--data", str(data)]
    for field, value in {**settings, **overrides}.items():
        words += ["--set", f"{field}={value}"]
    return shlex.join(["ignite-vision", "run", name, *words])


def as_plain(found: Probe, command: str) -> dict[str, Any]:
    """The same as JSON-plain values; seconds, fractions, megabytes. command: trains the best."""
    return {
        "images": len(found.best.judged.right),
        "cross_validated": found.cross_validated,
        "models": [
            {
                "model": one.model,
                "weights": one.weights,
                "accuracy": one.judged.accuracy,
                "interval": list(one.interval),
                "strength": one.judged.strength,
                "feature_seconds": one.feature_seconds,
                "image_seconds": one.image_seconds,
                "megabytes": one.megabytes,
                "licence": one.licence,
                "chance": found.chance(one),
            }
            for one in found.found
        ],
        "not_tried": found.skipped,
        "recommended": found.best.model,
        "command": command,
    }
