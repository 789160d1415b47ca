"""The built-in recipes as files: found, and their docstrings read, without importing any of them.

`ignite-vision list` therefore answers at once, and no broken recipe can break it.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ignite_vision import recipe_files as catalogue
from ignite_vision.errors import UserError, did_you_mean

if TYPE_CHECKING:
    pass
from ignite_vision.recipe import Recipe


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


@dataclasses.dataclass(frozen=True)
class LoadedRecipe:
    """A recipe with where it came from. spec: what the user typed (a name, or an absolute path)."""

    recipe: Recipe
    name: str
    spec: str
    source: Path
    data: Path | None = None  # the folder, when `run` was given a folder of images


def load(spec: str) -> LoadedRecipe:
    """Return the recipe of a name (hyphen or underscore), of a file of one's own, or for a folder of images."""
    path = Path(spec).expanduser()
    if spec.endswith(".py"):
        return _load_file(path)
    name = spec.replace("-", "_")
    if name in catalogue.names():
        module = importlib.import_module(f"ignite_vision.recipes.{name}")
        return LoadedRecipe(module.recipe, name, name, catalogue.folder() / f"{name}.py")
    if path.is_dir():
        folder = path.resolve()
        return dataclasses.replace(load("folder"), name=folder.name, spec=str(folder), data=folder)
    hint = did_you_mean(name, catalogue.names())
    if path.suffix or "/" in spec:
        raise UserError("no such recipe file or folder", spec, hint or "Look at the path.")
    raise UserError(
        f"no recipe '{spec}'", next_step=hint or f"There are {', '.join(catalogue.names())}; or give a path."
    )


def load_again(spec: str, copy: Path) -> LoadedRecipe:
    """Return the recipe of a run: from where it came from, else from the copy that the run keeps."""
    path = Path(spec)
    if not path.is_absolute() or path.exists():
        return load(spec)
    if path.suffix != ".py":  # a folder of images that moved: --data says where to
        return dataclasses.replace(load("folder"), name=path.name, spec=spec)
    module_spec = importlib.util.spec_from_file_location(path.stem, copy)
    if module_spec is None or module_spec.loader is None or not copy.is_file():
        raise UserError("the recipe is neither there nor in the run", path, "Put it back.")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[path.stem] = module
    module_spec.loader.exec_module(module)
    return LoadedRecipe(module.recipe, path.stem, spec, copy)


def _load_file(path: Path) -> LoadedRecipe:
    """Import a recipe file by its name, so that classes in it can be pickled for spawned workers."""
    if not path.is_file():
        raise UserError("no such recipe file", path, "Look at the path.")
    path = path.resolve()
    # appended, not put first: a random.py beside the recipe must not hide Python's own
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        module = importlib.import_module(path.stem)
    except UserError:
        raise
    except Exception as error:
        raise UserError(_import_failure(path, error), path, "Repair the recipe; --debug shows all.") from error
    if Path(module.__file__ or "").resolve() != path:
        raise UserError(
            f"Python has another module called '{path.stem}' ({module.__file__})",
            path,
            "Rename the recipe file.",
        )
    if not isinstance(getattr(module, "recipe", None), Recipe):
        raise UserError("no recipe in this file", path, "It needs a line: recipe = Recipe(data=..., model=...).")
    return LoadedRecipe(module.recipe, path.stem, str(path), path)


def _import_failure(path: Path, error: Exception) -> str:
    """What went wrong, and in which line of the recipe."""
    if isinstance(error, SyntaxError):
        line = error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
    where = f" in line {line}" if line else ""
    return f"the recipe does not import: {type(error).__name__}: {error}{where}"
