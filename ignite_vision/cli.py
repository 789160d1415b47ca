"""The command line: parse, call one function, print. torch is imported inside the commands, not here."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ignite_vision import catalogue
from ignite_vision._version import __version__
from ignite_vision.errors import INTERRUPTED, NOT_SAVED, Stopped, UserError
from ignite_vision.signals import leave_on_signals

if TYPE_CHECKING:
    from ignite_vision.prepare import Options
    from ignite_vision.recipe import LoadedRecipe
    from ignite_vision.run import Run

EVERY = "Save every N iterations.  [default: as often as costs 1 % of the time]"
CHOICES = ("data", "out", "device", "workers", "checkpoint_every", "keep_checkpoints", "deterministic")
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # a disk that takes no more
PATH = click.Path(path_type=Path)


def main() -> None:
    """Entry point: every foreseen error is one line on stderr and an exit code; a bug is a traceback and 1."""
    debug = "--debug" in sys.argv
    leave_on_signals()
    # of damaged files, which get an error of ours; of a deprecated decoder; of as many workers as were asked for
    for module in ("PIL", "ignite_vision.images", "torch.utils.data.dataloader"):
        warnings.filterwarnings("ignore", module=module)
    logging.getLogger("ignite").addHandler(logging.NullHandler())  # what an engine raises is printed here, once
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        say("stopped by Ctrl-C. Run the same command again to go on.")
        sys.exit(INTERRUPTED)
    except Stopped as stop:
        say(str(stop.what))
        leave(stop.code)
    except UserError as error:
        if debug:
            traceback.print_exc()
        say(f"error: {error}")
        sys.exit(error.code)
    except OSError as error:
        if debug or error.errno not in DISK:
            raise
        hint = "What is saved stays; the same command goes on."
        say(f"error: {UserError(f'cannot write: {error.strerror}', error.filename, hint)}")
        sys.exit(NOT_SAVED)


def leave(code: int) -> NoReturn:
    """End the process without waiting for what may hang: a thread or a worker that reads from a dead disk."""
    for child in multiprocessing.active_children():
        child.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def say(text: str) -> None:
    """Progress and warnings: stderr, above a progress bar if there is one."""
    if "tqdm" in sys.modules and sys.stderr.isatty():
        sys.modules["tqdm"].tqdm.write(text, file=sys.stderr)
    else:
        click.echo(text, err=True)


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
    from ignite_vision.recipe import fields_of, load

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


def checkpoint_options() -> tuple[Callable[..., Any], ...]:
    """Options of `run` and `resume` that change no result."""
    return (
        click.option("--checkpoint-every", type=click.IntRange(1), metavar="N", help=EVERY),
        click.option("--keep-checkpoints", type=click.IntRange(1), metavar="N", default=2, show_default=True),
        click.option("--deterministic", is_flag=True, help="Only deterministic kernels on a GPU, as far as possible."),
    )


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
            *checkpoint_options(),
            click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Any recipe field."),
        )
    ):
        command = option(command)
    return command


@cli.command()
@click.argument("recipe")
@run_options
@click.option("--dry-run", is_flag=True, help="Build everything, run two batches, train nothing, write nothing.")
def run(recipe: str, dry_run: bool, **options: Any) -> None:
    """Train RECIPE (a name, a .py file, or a folder of images) and evaluate it on its test split.

    The same command again goes on where it was.
    """
    loaded = _load(recipe)
    choices = _options(**{name: options.pop(name) for name in CHOICES})
    overrides = _overrides(options.pop("settings"), options)
    if dry_run:
        _dry_run(loaded, overrides, choices)
    else:
        _train(loaded, overrides, choices)


@cli.command()
@click.argument("run_directory", metavar="RUN", type=PATH)
@click.option("--data", type=PATH, help="Where the data set is now, if it moved.")
@click.option("--epochs", type=click.IntRange(1), help="Train on, up to this many epochs in all.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1 or auto.")
@click.option("--workers", type=click.IntRange(0), help="Processes that decode images.")
@checkpoint_options()[0]
@checkpoint_options()[1]
@checkpoint_options()[2]
def resume(run_directory: Path, data: Path | None, epochs: int | None, **options: Any) -> None:
    """Go on with RUN where it was stopped, or for more epochs."""
    loaded, overrides, folder = _reload(run_directory)
    if epochs is not None:
        overrides["epochs"] = str(epochs)
    _train(loaded, overrides, _options(data=data or folder, out=run_directory, **options))


@cli.command()
@click.argument("run_directory", metavar="RUN", type=PATH)
@click.option("--data", type=PATH, help="Where the data set is now, if it moved.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1 or auto.")
@click.option("--workers", type=click.IntRange(0), help="Processes that decode images.")
def evaluate(run_directory: Path, data: Path | None, split: str, device: str, workers: int | None) -> None:
    """Evaluate the best model of RUN on one of its splits."""
    from ignite_vision.prepare import prepare
    from ignite_vision.results import evaluate_run

    loaded, overrides, folder = _reload(run_directory)
    choices = _options(data=data or folder, out=run_directory, device=device, workers=workers)
    numbers = evaluate_run(prepare(loaded, overrides, choices, say, load=False), split)
    _print_results(numbers, run_directory)


@cli.command()
def doctor() -> None:
    """Show versions, device, precision, threads and memory: what a bug report needs."""
    from ignite_vision.environment import doctor as findings

    rows = findings()
    width = max(len(subject) for subject, _ in rows)
    for subject, finding in rows:
        click.echo(f"{subject:<{width}}  {finding}")


def _load(spec: str) -> LoadedRecipe:
    from ignite_vision.recipe import load

    return load(spec)


def _options(**values: Any) -> Options:
    from ignite_vision.environment import keep_freed_memory
    from ignite_vision.prepare import Options

    keep_freed_memory()  # every command that runs a model comes by here, and nothing large is allocated yet

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


def _reload(directory: Path) -> tuple[LoadedRecipe, dict[str, str], Path | None]:
    """Return the recipe of a run as it was typed, its overrides, and where its data was."""
    from ignite_vision.recipe import load_again
    from ignite_vision.run import read_settings

    settings = read_settings(directory)
    loaded = load_again(settings["spec"], directory / "recipe.py")
    folder = Path(settings["data"]["folder"])
    return loaded, dict(settings["overrides"]), folder if folder.exists() else None


def _train(loaded: LoadedRecipe, overrides: dict[str, str], options: Options) -> None:
    from ignite_vision.prepare import prepare
    from ignite_vision.results import train_and_evaluate

    run = prepare(loaded, overrides, options, say)
    numbers, finished_before = train_and_evaluate(run, lambda: _announce(run))
    if finished_before:
        say(f"already finished ({run.history.rows[-1].epoch} epochs): nothing to do. --epochs N trains on.")
    _print_results(numbers, run.directory)


def _announce(run: Run) -> None:
    from ignite_vision.results import summary

    for line in summary(run):
        say(line)


def _dry_run(loaded: LoadedRecipe, overrides: dict[str, str], options: Options) -> None:
    from ignite_vision.prepare import prepare
    from ignite_vision.results import rehearse, summary

    run = prepare(loaded, overrides, options, say)
    finding = rehearse(run)
    for line in (*summary(run), finding):
        click.echo(line)


def _print_results(numbers: dict[str, Any], directory: Path) -> None:
    """The last lines of a run: the accuracy, what is weak, where everything is, what comes next."""
    from ignite_vision.evaluation import weakest

    click.echo(
        f"{numbers['split']} accuracy {numbers['accuracy']:.4f} on {numbers['n']:,} images"
        f" · balanced {numbers['balanced_accuracy']:.4f} · loss {numbers['loss']:.4f}"
    )
    weak = ", ".join(f"{name} {accuracy:.2f}" for name, accuracy in weakest(numbers))
    if weak:
        click.echo(f"weakest classes: {weak}")
    click.echo(f"run directory: {directory}")
    click.echo(f"next: ignite-vision evaluate {directory} --split val, or look at {directory}/curves.svg")
