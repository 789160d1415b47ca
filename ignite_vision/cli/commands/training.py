"""`run` and `resume`: train, evaluate, and write a run directory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ignite_vision.cli.console import is_first, say
from ignite_vision.cli.options import (
    CHOICES,
    PATH,
    device,
    options_of,
    overrides_of,
    run_options,
    training_options,
    workers,
)

if TYPE_CHECKING:
    from ignite_vision.jobs import Outcome
    from ignite_vision.loading.plan import Plan
    from ignite_vision.prepare import Options, Prepared
    from ignite_vision.recipe_files import LoadedRecipe


@click.command()
@click.argument("recipe")
@run_options
@training_options
@click.option("--dry-run", is_flag=True, help="Build everything and run two batches; write nothing.")
def run(recipe: str, dry_run: bool, nproc_per_node: int | None, **options: Any) -> None:
    """Train a classifier and evaluate it on the test split.

    RECIPE is a name from `ignite-vision list`, a .py file, a folder of images with a subfolder per class, or a
    manifest: a list of images.

    Run the same command again and it resumes.
    """
    from ignite_vision.cli.launch import launch
    from ignite_vision.recipe_files import load

    choices = options_of(**{name: options.pop(name) for name in CHOICES})
    overrides = overrides_of(options.pop("settings"), options)
    work = _dry_run if dry_run else _train
    launch(nproc_per_node, choices.device, work, choices, functools.partial(load, recipe), overrides)


@click.command()
@click.argument("run_directory", metavar="RUN", type=PATH)
@click.option("--data", type=PATH, help="Where the data is now, if it was moved.")
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Train up to N epochs in all.")
@device
@workers
@training_options
def resume(
    run_directory: Path, data: Path | None, epochs: int | None, nproc_per_node: int | None, **options: Any
) -> None:
    """Resume RUN where it was stopped, or train it for more epochs."""
    from ignite_vision.cli.launch import launch
    from ignite_vision.recipe_files import load_again
    from ignite_vision.run_directory import RunDirectory

    directory = RunDirectory(run_directory)
    settings = directory.read_settings()
    folder, overrides = Path(settings["data"]["folder"]), dict(settings["overrides"])
    if epochs is not None:
        overrides["epochs"] = str(epochs)
    budget = None if epochs is not None else unplanned_budget(settings)
    data = data or (folder if folder.exists() else None)
    choices = options_of(data=data, out=run_directory, budget=budget, **options)
    load = functools.partial(load_again, settings["spec"], directory.recipe_copy)
    launch(nproc_per_node, choices.device, _train, choices, load, overrides)


def unplanned_budget(settings: dict[str, Any]) -> float | None:
    """Seconds that a run has, if its first command was killed before its epochs were planned."""
    budget = settings.get("time")
    return budget["seconds"] if budget and budget["epochs"] is None else None


def _train(options: Options, load: Callable[[], LoadedRecipe], overrides: dict[str, str]) -> None:
    from ignite_vision.cli.summary import results, summary
    from ignite_vision.jobs import train_and_evaluate
    from ignite_vision.prepare import prepare

    prepared = prepare(load(), overrides, options, say)

    def announce(planned: Prepared, plan: Plan) -> None:
        for line in summary(planned, plan):
            say(line)

    outcome = train_and_evaluate(prepared, announce)
    if outcome.finished_before:
        say(already_finished(outcome))
    if is_first():
        for line in results(outcome.metrics, prepared.directory, prepared.directory.path):
            click.echo(line)


def already_finished(outcome: Outcome) -> str:
    """Say that the run is finished, and how to train longer where that is possible."""
    epochs = f"{outcome.epochs} epoch" + "s" * (outcome.epochs > 1)
    if outcome.stopped_early:
        return f"already finished (stopped early after {epochs})."
    return f"already finished ({epochs}). Use --epochs N to train longer."


def _dry_run(options: Options, load: Callable[[], LoadedRecipe], overrides: dict[str, str]) -> None:
    from ignite_vision.cli.summary import summary
    from ignite_vision.jobs import rehearse
    from ignite_vision.prepare import prepare

    prepared = prepare(load(), overrides, options, say)
    plan, finding = rehearse(prepared)
    if is_first():
        click.echo("\n".join((*summary(prepared, plan), finding)))
