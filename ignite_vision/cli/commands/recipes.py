"""`list` and `show`: the recipes and their fields, and the models that can be named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ignite_vision.errors import UserError

if TYPE_CHECKING:
    from ignite_vision.models.catalogue import Entry

AS_JSON = "Print the list as JSON."


@click.command("list")
@click.option("--models", "of_models", is_flag=True, help="List models instead, those that PATTERN names.")
@click.option("--json", "as_json", is_flag=True, help=AS_JSON)
@click.argument("pattern", required=False)
def list_recipes(of_models: bool, pattern: str | None, as_json: bool) -> None:
    """List the built-in recipes, or the models.

    With --models every model that can be named, or those of a pattern: 'vit_*', 'timm:*dinov2*'.
    """
    if of_models:
        _list_models(pattern or "*", as_json)
    elif pattern:
        raise UserError(f"a pattern is for models, and '{pattern}' came without --models")
    else:
        _list_recipes(as_json)


def _list_recipes(as_json: bool) -> None:
    from ignite_vision import recipe_files

    titles = {name: recipe_files.docstring(name).splitlines()[0] for name in recipe_files.names()}
    if as_json:
        _print_json({"recipes": [{"name": name, "title": title} for name, title in titles.items()]})
        return
    width = max(map(len, titles))
    for name, title in titles.items():
        click.echo(f"{name:<{width}}  {title}")


def _list_models(pattern: str, as_json: bool) -> None:
    """Print name, parameters, pixels per side, and the licence of the weights that are the default."""
    from ignite_vision.models.catalogue import catalogue

    entries = catalogue(pattern)
    if as_json:
        _print_json({"models": [_plain(entry) for entry in entries]})
    else:
        click.echo("\n".join(_table(entries)))


def _plain(entry: Entry) -> dict[str, str | int | bool | None]:
    """null: parameters that were not counted, any number of pixels, a licence that is unknown or of no weights."""
    published = entry.licence != ""
    return {
        "name": entry.name,
        "parameters": entry.parameters,
        "pixels": entry.pixels,
        "weights": published,
        "license": entry.licence if published else None,
    }


def _table(entries: list[Entry]) -> list[str]:
    from ignite_vision.models.licences import UNKNOWN

    width = max(len(entry.name) for entry in entries)
    lines = [f"{'model':<{width}}  {'million':>7}  {'pixels':>6}  licence of the default weights"]
    for entry in entries:
        million = "-" if entry.parameters is None else f"{entry.parameters / 1e6:.1f}"
        licence = {None: UNKNOWN, "": "no weights"}.get(entry.licence, entry.licence)
        lines.append(f"{entry.name:<{width}}  {million:>7}  {entry.pixels or 'any':>6}  {licence}")
    return lines


def _print_json(found: dict[str, object]) -> None:
    click.echo(json.dumps({"format": 1, **found}, indent=2))


@click.command()
@click.argument("recipe")
def show(recipe: str) -> None:
    """Show the description and all fields of RECIPE."""
    import ast

    from ignite_vision import recipe_files
    from ignite_vision.identity import fields_of

    loaded = recipe_files.load(recipe)
    text = ast.get_docstring(ast.parse(loaded.source.read_text(encoding="utf-8")))
    click.echo((text or "(no docstring)") + "\n")
    fields = fields_of(loaded.recipe)
    width = max(map(len, fields))
    for name, value in fields.items():
        click.echo(f"{name:<{width}}  {value}")
    click.echo(f"\n{loaded.source}")
