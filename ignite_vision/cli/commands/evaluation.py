"""`evaluate`: the metrics of a finished run's model, on the run's own images or on others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ignite_vision.cli.console import is_first, say
from ignite_vision.cli.options import PATH, device, nproc_per_node, options_of, workers
from ignite_vision.errors import UserError, printable

if TYPE_CHECKING:
    from ignite_vision.prepare import Options
    from ignite_vision.published import Published

TTA = "Answer to each image and its mirror image together; the results have a folder of their own."


@click.command()
@click.argument("run_directory", metavar="RUN|FAMILY:NAME[=WEIGHTS]", type=PATH)
@click.option("--data", type=PATH, help="Where the data is now, or other images of the same classes.")
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True, help="Which images."
)
@click.option("--out", type=PATH, help="Of FAMILY:NAME: the folder of the results.  [default: runs/NAME-on-DATA-HASH]")
@click.option("--tta", type=click.Choice(["flip"]), help=TTA)
@device
@workers
@nproc_per_node
def evaluate(
    run_directory: Path,
    data: Path | None,
    split: str,
    out: Path | None,
    tta: str | None,
    nproc_per_node: int | None,
    **options: Any,
) -> None:
    """Evaluate the best model of RUN on a split or on another folder.

    With --data it may evaluate other images of the same classes: the run's own results stay as they are.

    torchvision:resnet50 or timm:NAME is a published network as it is, on folders (--data) that are named by synset or
    class of ImageNet; =WEIGHTS is a file.
    """
    from ignite_vision.cli.launch import launch
    from ignite_vision.published import Published

    published = None if run_directory.exists() else Published.parse(str(run_directory))
    if published is not None:
        choices = options_of(data=data, out=out, **options)
        launch(nproc_per_node, choices.device, _evaluate_published, choices, published, split, tta)
        return
    if out is not None:
        hint = "Leave it out: they go into the run."
        raise UserError("--out is for the results of a network by name, not of a run", next_step=hint)
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


def _evaluate_published(options: Options, published: Published, split: str, tta: str | None) -> None:
    from ignite_vision.evaluation.metrics import weakest
    from ignite_vision.published import evaluate_published, lines

    found = evaluate_published(published, split, options, say, tta)
    if is_first():
        weak = ", ".join(f"{name} {accuracy:.2f}" for name, accuracy in weakest(found.metrics))
        for line in (*lines(found), *([f"weakest classes: {weak}"] if weak else []), f"results: {found.folder}"):
            click.echo(printable(line))
