"""`compare`: which of several runs is better, and whether that is more than noise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ignite_vision.cli.console import aligned
from ignite_vision.cli.options import PATH
from ignite_vision.errors import printable

if TYPE_CHECKING:
    from ignite_vision.comparing import Comparison, Versus
    from ignite_vision.evaluation.comparison import Changed

SHOWN = 5  # images, or classes, of a list


@click.command()
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Compare runs on the same test images, each with the first.

    Which is better, by how much, and whether that is more than noise; what differs in their settings; the classes and
    images that got better or worse. A folder of results that `evaluate` names stands for its run: RUN/evaluations/NAME.
    """
    from ignite_vision.comparing import compare as compared

    found = compared(list(runs))
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        for line in lines(found):
            click.echo(printable(line))


def lines(found: Comparison) -> Iterator[str]:
    """Yield a table of the runs with the settings that differ; then, for each but the first, what came of it."""
    yield from table(found)
    for one in found.versus:
        yield ""
        yield one.words
        yield from classes(one)
        yield from images(one.gained, f"{one.other.name} alone has right")
        yield from images(one.lost, f"{one.one.name} alone has right")
    if any(one.verdict == "seeds" for one in found.versus):
        yield ""
        yield "next: train both settings with --seed 0, 1 and 2, and compare all of these runs"


def table(found: Comparison) -> Iterator[str]:
    """Yield a line for each run: its accuracy, and the settings that differ."""
    from ignite_vision.comparing import as_text

    rows = [["run", "accuracy", "95 % interval", *found.settings]]
    for k, run in enumerate(found.runs):
        low, high = run.to_dict()["interval"]
        values = [as_text(values[k]) for values in found.settings.values()]
        rows.append([run.name, f"{run.accuracy:.3f}", f"{low:.3f} to {high:.3f}", *values])
    yield from aligned(rows)
    if not found.settings:
        yield "no setting differs"


def classes(one: Versus) -> Iterator[str]:
    """Yield the classes that are better or worse by more than noise; if there is none, say so."""
    from ignite_vision.evaluation.intervals import NOISE

    sure = {name: row for name, row in one.classes.items() if row[1] < NOISE}
    if not sure:
        yield f"no class is better or worse by more than noise, of {len(one.classes):,}"
        return
    yield f"classes better or worse in {one.other.name} by more than noise:"
    rows = []
    for name, (found, chance) in list(sure.items())[:SHOWN]:
        before, after = found.accuracies
        rows.append([f"  {name}", f"{before:.3f} -> {after:.3f}", f"{found.n:,} images", f"p = {chance:.2g}"])
    yield from aligned(rows)
    if len(sure) > SHOWN:
        yield f"  and {len(sure) - SHOWN:,} more: --json"


def images(changed: Sequence[Changed], what: str) -> Iterator[str]:
    """Yield how many images changed, and the first of them."""
    yield f"{len(changed):,} image{'' if len(changed) == 1 else 's'} {what}{':' if changed else ''}"
    yield from aligned([[f"  {i.id}", f"is {i.label}", f"{i.one} -> {i.other}"] for i in changed[:SHOWN]])
    if len(changed) > SHOWN:
        yield f"  and {len(changed) - SHOWN:,} more: --json"
