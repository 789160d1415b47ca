"""`list` and `show`: the recipes and their fields."""

from __future__ import annotations

import click


@click.command("list")
def list_recipes() -> None:
    """List the built-in recipes."""
    from ignite_vision import recipe_files

    rows = [(name, recipe_files.docstring(name).splitlines()[0]) for name in recipe_files.names()]
    width = max(len(name) for name, _ in rows)
    for name, title in rows:
        click.echo(f"{name:<{width}}  {title}")


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
