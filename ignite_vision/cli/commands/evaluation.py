"""`evaluate`: the metrics of a finished run's model, on the run's own images or on others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ignite_vision.cli.console import is_first, say
from ignite_vision.cli.options import PATH, device, nproc_per_node, options_of, workers

if TYPE_CHECKING:
    from ignite_vision.prepare import Options

TTA = "Answer to each image and its mirror image together; the results have a folder of their own."


@click.command()
@click.argument("run_directory", metavar="RUN", type=PATH)
@click.option("--data", type=PATH, help="Where the data is now, or other images of the same classes.")
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True, help="Which images."
)
@click.option("--tta", type=click.Choice(["flip"]), help=TTA)
@device
@workers
@nproc_per_node
def evaluate(
    run_directory: Path, data: Path | None, split: str, tta: str | None, nproc_per_node: int | None, **options: Any
) -> None:
    """Evaluate the best model of RUN on a split or on another folder.

    With --data it may evaluate other images of the same classes: the run's own results stay as they are.
    """
    from ignite_vision.cli.launch import launch

    choices = options_of(data=data, out=run_directory, **options)
    launch(nproc_per_node, choices.device, _evaluate, choices, run_directory, split, tta)


def _evaluate(options: Options, run_directory: Path, split: str, tta: str | None) -> None:
    from ignite_vision.cli.summary import results
    from ignite_vision.evaluating import evaluate_run
    from ignite_vision.run_directory import RunDirectory

    directory = RunDirectory(run_directory)
    evaluated = evaluate_run(directory, split, options, say, tta)
    if is_first():
        for line in results(evaluated.metrics, directory, evaluated.folder):
            click.echo(line)
