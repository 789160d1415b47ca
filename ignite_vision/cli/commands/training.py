"""`run` and `resume`: train, evaluate, and write a run directory."""

from __future__ import annotations

import dataclasses
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
from ignite_vision.errors import UserError

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
def run(recipe: str, dry_run: bool, seeds: tuple[int, ...] | None, nproc_per_node: int | None, **options: Any) -> None:
    """Train a classifier and evaluate it on the test split.

    RECIPE is a name from `ignite-vision list`, a .py file, a folder of images with a subfolder per class, or a
    manifest: a list of images.

    Run the same command again and it resumes.
    """
    from ignite_vision.cli.launch import launch
    from ignite_vision.recipe_files import load

    choices = options_of(**{name: options.pop(name) for name in CHOICES})
    overrides = overrides_of(options.pop("settings"), options)
    work: Callable[..., None] = _dry_run if dry_run else _train
    if seeds is not None:
        refuse_beside_seeds(overrides, choices)
        work = functools.partial(_dry_run_of_first if dry_run else _train_seeds, seeds=seeds)
    launch(nproc_per_node, choices.device, work, choices, functools.partial(load, recipe), overrides)


def refuse_beside_seeds(overrides: dict[str, str], choices: Options) -> None:
    """UserError for what contradicts --seeds."""
    if "seed" in overrides:
        raise UserError("--seeds and a single seed exclude each other", next_step="Leave out one of them.")
    if choices.budget is not None:
        hint = "Use --epochs N: all seeds are to have the same number."
        raise UserError("--time plans the epochs of one run, not of several seeds", next_step=hint)


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


def _train_seeds(
    options: Options, load: Callable[[], LoadedRecipe], overrides: dict[str, str], seeds: tuple[int, ...]
) -> None:
    from ignite_vision.cli.seeds_table import lines
    from ignite_vision.cli.summary import summary
    from ignite_vision.seeds import Work, train_seeds

    told: list[str] = []

    def announce(seed: int, planned: Prepared, plan: Plan) -> None:
        if not told:
            told.extend(summary(planned, plan)[:-1])  # the last is the run's directory
            say("\n".join(told))
        say(f"seed {seed}     {seeds.index(seed) + 1} of {len(seeds)}: {planned.directory}")

    def done(seed: int, outcome: Outcome) -> None:
        before = f"seed {seed}: {already_finished(outcome)} " if outcome.finished_before else f"seed {seed}: "
        say(f"{before}{outcome.metrics['split']} accuracy {outcome.metrics['accuracy']:.4f}")

    found = train_seeds(seeds, Work(load(), overrides, options, say, announce, done))
    if is_first():
        for line in lines(found):
            click.echo(line)


def already_finished(outcome: Outcome) -> str:
    """Say that the run is finished, and how to train longer where that is possible."""
    epochs = f"{outcome.epochs} epoch" + "s" * (outcome.epochs > 1)
    if outcome.stopped_early:
        return f"already finished (stopped early after {epochs})."
    return f"already finished ({epochs}). Use --epochs N to train longer."


def _dry_run_of_first(
    options: Options, load: Callable[[], LoadedRecipe], overrides: dict[str, str], seeds: tuple[int, ...]
) -> None:
    out = options.out and options.out / f"seed-{seeds[0]}"
    _dry_run(dataclasses.replace(options, out=out), load, {**overrides, "seed": str(seeds[0])})


def _dry_run(options: Options, load: Callable[[], LoadedRecipe], overrides: dict[str, str]) -> None:
    from ignite_vision.cli.summary import summary
    from ignite_vision.jobs import rehearse
    from ignite_vision.prepare import prepare

    prepared = prepare(load(), overrides, options, say)
    plan, finding = rehearse(prepared)
    if is_first():
        click.echo("\n".join((*summary(prepared, plan), finding)))
