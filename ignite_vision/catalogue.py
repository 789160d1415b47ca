"""The built-in recipes as files: found, and their docstrings read, without importing any of them.

`ignite-vision list` therefore answers at once, and no broken recipe can break it.
"""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path


def folder() -> Path:
    """Where the recipes lie: inside the installed package, or recipes/ of an editable checkout."""
    spec = find_spec("ignite_vision.recipes")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("ignite_vision.recipes is not installed beside ignite_vision")
    return Path(next(iter(spec.submodule_search_locations)))


def names() -> list[str]:
    """The built-in recipes' names, sorted."""
    return sorted(path.stem for path in folder().glob("*.py") if not path.stem.startswith("_"))


def docstring(name: str) -> str:
    """A built-in recipe's text; its first line is its title."""
    source = (folder() / f"{name}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)) or "(no docstring)"
