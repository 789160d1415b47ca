"""`check`: what may be wrong with images, before anything is trained on them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ignite_vision.cli.console import say
from ignite_vision.cli.options import PATH, overrides_of, workers
from ignite_vision.errors import BAD_INPUT, printable

if TYPE_CHECKING:
    from ignite_vision.checking import Checked

OUT = "Where the findings go.  [default: check/; of a run, its directory]"
SET = "Set a field of the recipe, such as split_seed; repeatable."


@click.command()
@click.argument("target", metavar="DIR|RECIPE|RUN")
@click.option("--data", type=PATH, help="Where the data set of a recipe is, or of a run now.")
@click.option("--out", type=PATH, help=OUT)
@workers
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help=SET)
@click.option("--labels/--no-labels", default=True, help="Judge labels, by a pretrained network.  [default: --labels]")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def check(
    target: str,
    data: Path | None,
    out: Path | None,
    workers: int | None,
    settings: tuple[str, ...],
    labels: bool,
    as_json: bool,
) -> None:
    """Say what may be wrong with images, before training.

    Every image is decoded once: files that cannot be read, pictures that show nothing, the same picture twice or in two
    splits, classes that are given away by their files. Labels of photographs are judged by the features of a pretrained
    network, which `run` finds again. Exit code 2 if something must be fixed.
    """
    from ignite_vision.checking import check as checked
    from ignite_vision.system.process import ready_to_compute

    began = time.monotonic()
    ready_to_compute()
    found = checked(target, data, out, overrides_of(settings, {}), workers, say, labels)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        for line in lines(found, time.monotonic() - began):
            click.echo(printable(line))
    if found.must:
        sys.exit(BAD_INPUT)


def lines(found: Checked, seconds: float) -> Iterator[str]:
    """Yield what is printed: the images, two lines for each finding, what to do next."""
    images = found.subject.images
    judging = found.labels.seconds
    labels = "" if judging is None else f", {judging:.0f} s of it for the labels"
    sizes = f"{len(images):,} images, {len(images.classes):,} classes"
    yield f"{found.subject.name}: {sizes}, checked in {seconds:.0f} s{labels}"
    for finding in found.findings:
        yield f"{finding.level:<5}  {finding.message}"
        if finding.next_step:
            yield f"         {finding.next_step}"
    number = len(found.must)
    verdict = {0: "nothing must be fixed", 1: "1 finding must be fixed"}.get(number, f"{number} findings must be fixed")
    step = (
        "" if found.must or found.subject.page == "check.html" else f" · next: ignite-vision run {found.subject.name}"
    )
    yield f"{verdict} · {found.page}{step}"
