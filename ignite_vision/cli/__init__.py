"""The command line: parse, call one function, print. torch is imported inside the commands, not here."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ignite_vision import recipe_files as catalogue
from ignite_vision._version import __version__
from ignite_vision.cli.console import guarded, is_first, leave, say, set_up
from ignite_vision.errors import INTERRUPTED, STOPPED, UserError

if TYPE_CHECKING:
    from ignite_vision.prepare import Options
    from ignite_vision.recipe_files import LoadedRecipe
    from ignite_vision.training.run import Run


NPROC = "Processes, one for each GPU."
KEEP = "Newest checkpoints that stay on the disk."
EVERY = "Save every N iterations.  [default: as often as costs 1 % of the time]"
CHOICES = ("data", "out", "device", "workers", "checkpoint_every", "keep_checkpoints", "verify_data", "deterministic")
PATH = click.Path(path_type=Path)


def main() -> None:
    """Entry point: every foreseen error is one line on stderr and an exit code; a bug is a traceback and 1."""
    set_up()
    code = guarded(cli.main, standalone_mode=False)
    if code in (INTERRUPTED, STOPPED):
        leave(code)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ignite-vision")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def cli(debug: bool) -> None:
    """Train, evaluate, explain and ship image classifiers.

    \b
    ignite-vision run digits          a first classifier, no network needed
    ignite-vision run PHOTOS/         a folder with one subfolder of images per class
    ignite-vision run my_recipe.py    your own data, model and handlers
    """  # noqa: D301  (click's mark for lines that stay as they are)
    del debug  # read by main(), which also handles what goes wrong before this


@cli.command("list")
def list_() -> None:
    """List the built-in recipes."""
    rows = [(name, catalogue.docstring(name).splitlines()[0]) for name in catalogue.names()]
    width = max(len(name) for name, _ in rows)
    for name, title in rows:
        click.echo(f"{name:<{width}}  {title}")


@cli.command()
@click.argument("recipe")
def show(recipe: str) -> None:
    """Show what RECIPE says of itself and all its fields."""
    from ignite_vision.identity import fields_of
    from ignite_vision.recipe_files import load

    loaded = load(recipe)
    click.echo(_docstring(loaded.source) + "\n")
    fields = fields_of(loaded.recipe)
    width = max(map(len, fields))
    for name, value in fields.items():
        click.echo(f"{name:<{width}}  {value}")
    click.echo(f"\n{loaded.source}")


def _docstring(source: Path) -> str:
    import ast

    return ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or "(no docstring)"


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of `run` and `resume` that change no result."""
    for option in (
        click.option("--nproc-per-node", type=click.IntRange(1), metavar="N", help=NPROC),
        click.option("--checkpoint-every", type=click.IntRange(1), metavar="N", help=EVERY),
        click.option("--keep-checkpoints", type=click.IntRange(1), default=2, show_default=True, help=KEEP),
        click.option("--verify-data", is_flag=True, help="Hash every file: finds one replaced by another of its size."),
        click.option("--deterministic", is_flag=True, help="Only deterministic kernels on a GPU, as far as possible."),
    ):
        command = option(command)
    return command


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that every recipe shares."""
    for option in reversed(
        (
            click.option("--data", type=PATH, help="Where the data set is, or a folder of class folders."),
            click.option("--out", type=PATH, help="The run directory.  [default: runs/RECIPE-HASH]"),
            click.option("--epochs", type=click.IntRange(1), help="How often every training image is seen."),
            click.option("--batch-size", type=click.IntRange(1), help="Images per optimizer step."),
            click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1 or auto."),
            click.option("--workers", type=click.IntRange(0), help="Processes that decode images."),
            click.option("--seed", type=int, help="Initialises, orders and augments; does not cut the data."),
            click.option("--precision", help="auto, fp32, bf16 or fp16."),
            click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Any recipe field."),
        )
    ):
        command = option(command)
    return command


@cli.command()
@click.argument("recipe")
@run_options
@training_options
@click.option("--dry-run", is_flag=True, help="Build everything, run two batches, train nothing, write nothing.")
def run(recipe: str, dry_run: bool, nproc_per_node: int | None, **options: Any) -> None:
    """Train RECIPE (a name, a .py file, or a folder of images) and evaluate it on its test split.

    The same command again goes on where it was.
    """
    load = functools.partial(_load, recipe)
    choices = _options(**{name: options.pop(name) for name in CHOICES})
    overrides = _overrides(options.pop("settings"), options)
    _launch(nproc_per_node, choices, _dry_run if dry_run else _train, load, overrides)


@cli.command()
@click.argument("run_directory", metavar="RUN", type=PATH)
@click.option("--data", type=PATH, help="Where the data set is now, if it moved.")
@click.option("--epochs", type=click.IntRange(1), help="Train on, up to this many epochs in all.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1 or auto.")
@click.option("--workers", type=click.IntRange(0), help="Processes that decode images.")
@training_options
def resume(
    run_directory: Path, data: Path | None, epochs: int | None, nproc_per_node: int | None, **options: Any
) -> None:
    """Go on with RUN where it was stopped, or for more epochs."""
    load, overrides, folder = _reload(run_directory)
    if epochs is not None:
        overrides["epochs"] = str(epochs)
    choices = _options(data=data or folder, out=run_directory, **options)
    _launch(nproc_per_node, choices, _train, load, overrides)


@cli.command()
@click.argument("run_directory", metavar="RUN", type=PATH)
@click.option("--data", type=PATH, help="Where the data set is now, if it moved.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1 or auto.")
@click.option("--workers", type=click.IntRange(0), help="Processes that decode images.")
@click.option("--nproc-per-node", type=click.IntRange(1), metavar="N", help=NPROC)
def evaluate(run_directory: Path, data: Path | None, split: str, nproc_per_node: int | None, **options: Any) -> None:
    """Evaluate the best model of RUN on one of its splits."""
    load, overrides, folder = _reload(run_directory)
    choices = _options(data=data or folder, out=run_directory, **options)
    _launch(nproc_per_node, choices, _evaluate, load, overrides, split)


@cli.command()
def doctor() -> None:
    """Show versions, device, precision, threads and memory: what a bug report needs."""
    from ignite_vision.cli.machine import doctor as findings

    rows = findings()
    width = max(len(subject) for subject, _ in rows)
    for subject, finding in rows:
        click.echo(f"{subject:<{width}}  {finding}")


def _launch(processes: int | None, options: Options, work: Callable[..., None], *arguments: Any) -> None:
    from ignite_vision.cli.launch import launch

    launch(processes, options.device, work, options, *arguments)


def _load(spec: str) -> LoadedRecipe:
    from ignite_vision.recipe_files import load

    return load(spec)


def _options(**values: Any) -> Options:
    from ignite_vision.prepare import Options

    return Options(**values)


def _overrides(settings: tuple[str, ...], flags: dict[str, Any]) -> dict[str, str]:
    """`--set a=b` and the flags that stand for fields -> field: text; a flag wins over --set."""
    found = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set wants FIELD=VALUE, not '{setting}'", next_step="For example --set lr=0.01.")
        found[name.replace("-", "_")] = value
    return found | {name: str(value) for name, value in flags.items() if value is not None}


def _reload(directory: Path) -> tuple[Callable[[], LoadedRecipe], dict[str, str], Path | None]:
    """Return how to load the recipe of a run as it was typed, its overrides, and where its data was."""
    from ignite_vision.recipe_files import load_again
    from ignite_vision.run_directory import read_settings

    settings = read_settings(directory)
    folder = Path(settings["data"]["folder"])
    load = functools.partial(load_again, settings["spec"], directory / "recipe.py")
    return load, dict(settings["overrides"]), folder if folder.exists() else None


def _train(options: Options, load: Callable[[], LoadedRecipe], overrides: dict[str, str]) -> None:
    from ignite_vision.jobs import train_and_evaluate
    from ignite_vision.prepare import prepare

    run = prepare(load(), overrides, options, say)
    numbers, finished_before = train_and_evaluate(run, lambda: _announce(run))
    if finished_before and is_first():
        say(f"already finished ({run.history.rows[-1].epoch} epochs): nothing to do. --epochs N trains on.")
    _print_results(numbers, run.directory)


def _evaluate(options: Options, load: Callable[[], LoadedRecipe], overrides: dict[str, str], split: str) -> None:
    from ignite_vision.jobs import evaluate_run
    from ignite_vision.prepare import prepare

    run = prepare(load(), overrides, options, say, load=False)
    _print_results(evaluate_run(run, split), run.directory)


def _announce(run: Run) -> None:
    from ignite_vision.cli.summary import summary

    for line in summary(run):
        say(line)


def _dry_run(options: Options, load: Callable[[], LoadedRecipe], overrides: dict[str, str]) -> None:
    from ignite_vision.cli.summary import summary
    from ignite_vision.jobs import rehearse
    from ignite_vision.prepare import prepare

    run = prepare(load(), overrides, options, say)
    finding = rehearse(run)
    if is_first():
        click.echo("\n".join((*summary(run), finding)))


def _print_results(numbers: dict[str, Any], directory: Path) -> None:
    """The last lines of a run: the accuracy, what is weak, where everything is, what comes next."""
    if not is_first():
        return
    from ignite_vision.evaluation.metrics import weakest

    click.echo(
        f"{numbers['split']} accuracy {numbers['accuracy']:.4f} on {numbers['n']:,} images"
        f" · balanced {numbers['balanced_accuracy']:.4f} · loss {numbers['loss']:.4f}"
    )
    weak = ", ".join(f"{name} {accuracy:.2f}" for name, accuracy in weakest(numbers))
    if weak:
        click.echo(f"weakest classes: {weak}")
    click.echo(f"run directory: {directory}")
    click.echo(f"next: ignite-vision evaluate {directory} --split val, or look at {directory}/curves.svg")
