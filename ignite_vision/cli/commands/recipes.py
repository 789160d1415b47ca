"""`list` and `show`: the recipes and their fields, and the models that can be named."""

from __future__ import annotations

import click

from ignite_vision.errors import UserError


@click.command("list")
@click.option("--models", "of_models", is_flag=True, help="List models instead, those that PATTERN names.")
@click.argument("pattern", required=False)
def list_recipes(of_models: bool, pattern: str | None) -> None:
    """List the built-in recipes, or the models.

    With --models every model that can be named, or those of a pattern: 'vit_*', 'timm:*dinov2*'.
    """
    if of_models:
        _list_models(pattern or "*")
    elif pattern:
        raise UserError(f"a pattern is for models, and '{pattern}' came without --models")
    else:
        _list_recipes()


def _list_recipes() -> None:
    from ignite_vision import recipe_files

    rows = [(name, recipe_files.docstring(name).splitlines()[0]) for name in recipe_files.names()]
    width = max(len(name) for name, _ in rows)
    for name, title in rows:
        click.echo(f"{name:<{width}}  {title}")


def _list_models(pattern: str) -> None:
    """Print name, parameters in millions, pixels per side, and the licence of the weights that are the default."""
    from ignite_vision.models.catalogue import catalogue
    from ignite_vision.models.licences import UNKNOWN

    entries = catalogue(pattern)
    width = max(len(entry.name) for entry in entries)
    click.echo(f"{'model':<{width}}  {'million':>7}  {'pixels':>6}  licence of the default weights")
    for entry in entries:
        million = "-" if entry.parameters is None else f"{entry.parameters / 1e6:.1f}"
        licence = {None: UNKNOWN, "": "no weights"}.get(entry.licence, entry.licence)
        click.echo(f"{entry.name:<{width}}  {million:>7}  {entry.pixels or 'any':>6}  {licence}")


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
