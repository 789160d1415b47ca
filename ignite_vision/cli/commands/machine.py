"""`doctor`: the machine, as training sees it."""

from __future__ import annotations

import click


@click.command()
def doctor() -> None:
    """Show versions, device, precision, threads and memory.

    Paste it into a bug report.
    """
    from ignite_vision.cli.machine import doctor as findings

    rows = findings()
    width = max(len(subject) for subject, _ in rows)
    for subject, finding in rows:
        click.echo(f"{subject:<{width}}  {finding}")
