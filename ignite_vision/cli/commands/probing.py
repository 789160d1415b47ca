"""`probe`: which backbone is best for some images."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ignite_vision.cli.console import is_first, say
from ignite_vision.cli.options import PATH, Duration, device, options_of, overrides_of, workers

if TYPE_CHECKING:
    from pathlib import Path

    from ignite_vision.prepare import Options
    from ignite_vision.recipe_files import LoadedRecipe


MODELS = "What to try, joined by commas; its weights are DEFAULT, or NAME=PATH.  [default: a handful that is available]"
TIME = "Leave out what does not fit into this time: 90s, 5m."
SET = "Set a field of the recipe, such as split_seed; repeatable."


@click.command()
@click.argument("recipe", metavar="DIR|RECIPE")
@click.option("--models", metavar="A,B,C", help=MODELS)
@click.option("--time", "budget", type=Duration(), metavar="TIME", help=TIME)
@click.option("--data", type=PATH, help="Where the data set of a recipe is.")
@device
@workers
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help=SET)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def probe(
    recipe: str, models: str | None, data: Path | None, settings: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Say which of several backbones is best for some images.

    The features of each are computed once and kept, and the same head is fitted to them: `run` with the model that is
    recommended takes seconds. Two or three models are tried side by side, too. The test split is not looked at.
    """
    from ignite_vision.cli.launch import launch
    from ignite_vision.recipe_files import load

    choices = options_of(data=data, **options)
    load_it = functools.partial(load, recipe)
    launch(None, choices.device, _probe, choices, load_it, recipe, models, overrides_of(settings, {}), as_json)


def _probe(
    options: Options,
    load: Callable[[], LoadedRecipe],
    name: str,
    models: str | None,
    overrides: dict[str, str],
    as_json: bool,
) -> None:
    from ignite_vision.cli.probe_table import as_plain, lines, run_command
    from ignite_vision.probing import Candidate, default_candidates, probe

    candidates = default_candidates() if models is None else [Candidate.parse(part) for part in models.split(",")]
    loaded = load()
    found = probe(loaded, candidates, options, overrides, say)
    command = run_command(name, found.best, loaded.recipe, options.data, overrides)
    if is_first() and as_json:
        click.echo(json.dumps(as_plain(found, command), indent=2))
    elif is_first():
        click.echo("\n".join(lines(found, command)))
