"""`report`: one page that says how good a run's model is, where it is wrong, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ignite_vision.cli.console import say
from ignite_vision.cli.options import PATH, device, options_of, workers


@click.command()
@click.argument("run_directory", metavar="RUN", type=PATH)
@click.option("--out", type=PATH, metavar="FILE", help="Where the page goes.  [default: report.html in RUN]")
@click.option("--data", type=PATH, help="Where the data is now, if it was moved.")
@device
@workers
def report(run_directory: Path, out: Path | None, data: Path | None, **options: Any) -> None:
    """Explain the results of RUN in one HTML file.

    How good, compared with what; how it learnt; whether its confidence can be believed; what it confuses; images with
    heat maps; labels that look wrong; a map of the test images; how to do it again. It opens from disk and asks no
    network for anything.
    """
    from ignite_vision.reporting import write_report
    from ignite_vision.run_directory import RunDirectory
    from ignite_vision.system.process import ready_to_compute
    from ignite_vision.system.signals import leave_on_signals

    choices = options_of(data=data, **options)
    leave_on_signals("")
    ready_to_compute()
    page = write_report(RunDirectory(run_directory), out, choices, say)
    click.echo(f"report: {page} ({page.stat().st_size / 1000:,.0f} kB)")
    click.echo("next: open it in a browser")
