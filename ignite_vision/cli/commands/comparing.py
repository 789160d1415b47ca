"""`compare`: which of several runs is better, and whether that is more than noise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ignite_vision.cli.console import aligned, say
from ignite_vision.cli.options import PATH
from ignite_vision.errors import UserError, printable

if TYPE_CHECKING:
    from ignite_vision.comparing.comparison import Comparison, Versus
    from ignite_vision.comparing.groups import GroupVersus
    from ignite_vision.evaluation.comparison import Changed

SHOWN = 5  # images, or classes, of a list


@click.command()
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
@click.option("--html", type=PATH, metavar="FILE", help="Write a page, with curves and pictures of the images.")
@click.option("--data", type=PATH, help="Of --html: where the images are now.")
def compare(runs: tuple[Path, ...], as_json: bool, html: Path | None, data: Path | None) -> None:
    """Compare runs on the same test images, each with the first.

    Which is better, by how much, and whether that is more than noise; what differs in their settings; the classes and
    images that got better or worse. A folder of `run --seeds` stands for the runs in it. A folder of results that
    `evaluate` names stands for its run: RUN/evaluations/NAME.
    """
    from ignite_vision.comparing.comparison import compare as compared
    from ignite_vision.system.process import ready_to_compute

    if data is not None and html is None:
        raise UserError("--data is for the pictures of a page", next_step="Add --html FILE, or leave it out.")
    ready_to_compute()
    found = compared(list(runs))
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        for line in lines(found):
            click.echo(printable(line))
    if html is not None:
        from ignite_vision.comparing.page import write_page

        write_page(found, html, data)
        say(f"page: {html} ({html.stat().st_size / 1000:,.0f} kB)")


def lines(found: Comparison) -> Iterator[str]:
    """Yield a table of the runs with the settings that differ; then, for each but the first, what came of it."""
    yield from table(found)
    if found.contests:
        yield ""
        yield from groups(found)
    for contest in found.contests:
        yield ""
        yield from seeds(contest, found)
    for one in found.alone:
        yield ""
        yield one.words
        yield from details(one)
    yield from advice(found)


def details(one: Versus) -> Iterator[str]:
    """Yield the classes and images that differ between two runs."""
    yield from classes(one)
    yield from images(one.gained, f"{one.other.name} alone has right")
    yield from images(one.lost, f"{one.one.name} alone has right")


def groups(found: Comparison) -> Iterator[str]:
    """Yield a line for each setting: its seeds, and mean and spread of the accuracy over them."""
    rows = [["setting", "seeds", "mean accuracy", "spread"]]
    for group in found.groups:
        spread = group.setting.deviation
        numbers = [f"{group.setting.mean:.4f}", "" if spread is None else f"{spread:.4f}"]
        rows.append([group.name, f"{len(group.runs)}", *numbers])
    yield from aligned(rows)


def seeds(one: GroupVersus, found: Comparison) -> Iterator[str]:
    """Yield what several seeds say of two settings; then each pair of runs, and the details of the first."""
    from ignite_vision.evaluation.comparison import probability, signed

    yield one.words
    yield f"pair by pair, on the images ({one.contest.sure_pairs} of {len(one.pairs)} by more than noise):"
    rows = []
    for (first, second), pair in zip(one.pairs, one.contest.pairs, strict=True):
        before, after = pair.accuracies
        points = f"{signed(pair.difference)} points"
        rows.append([f"  {first.name}", second.name, f"{before:.3f} -> {after:.3f}", points, probability(pair.chance)])
    yield from aligned(rows)
    for versus in found.told:
        if (versus.one.name, versus.other.name) == one.example:
            yield f"of {versus.one.name} and {versus.other.name}:"
            yield from details(versus)


def advice(found: Comparison) -> Iterator[str]:
    """Yield the commands that settle what the seeds leave open."""
    from ignite_vision.comparing.runs import command
    from ignite_vision.evaluation.comparison import SEEDS

    if "seeds" not in [*(one.verdict for one in found.contests), *(one.verdict for one in found.alone)]:
        return
    most = max(len(group.runs) for group in found.groups)
    number = SEEDS if most < SEEDS else 2 * most
    yield ""
    yield "next: train under several seeds, and compare the folders:"
    yield from dict.fromkeys(f"  {command(group.runs[0], number)}" for group in found.groups)


def table(found: Comparison) -> Iterator[str]:
    """Yield a line for each run: its accuracy, and the settings that differ."""
    from ignite_vision.comparing.runs import as_text

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
