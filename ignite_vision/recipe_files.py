"""Recipes as files: found, read and loaded.

Finding them and reading their docstrings imports none of them, nor torch: `ignite-vision list` answers at once, and no
broken recipe can break it.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ignite_vision.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from ignite_vision.recipe import Recipe

RECIPES = "ignite_vision.recipes"
MANIFESTS = (".csv", ".jsonl", ".parquet")  # lists of images, which stand for a recipe as a folder does


def folder() -> Path:
    """Where the built-in recipes are: inside the installed package, or recipes/ of an editable checkout."""
    spec = importlib.util.find_spec(RECIPES)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{RECIPES} is not installed beside ignite_vision")
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
    """A recipe with where it came from.

    spec: what the user typed (a name, or an absolute path). source: the file that was loaded. data: the folder, when
    `run` was given a folder of images.
    """

    recipe: Recipe
    name: str
    spec: str
    source: Path
    data: Path | None = None

    def sources(self) -> dict[str, str]:
        """The code that the recipe consists of: path relative to its folder -> SHA-256 (hex) of its normal form.

        That is the recipe file and every custom module at or below its folder that is loaded, or that one of them
        imports inside a function; of a built-in recipe, its file alone. Comments and formatting do not count.
        """
        from ignite_vision.source_code import file_hash, imports_of  # here: `list` does not wait for it

        if not self.spec.endswith(".py"):
            return {self.source.name: file_hash(self.source)}
        original = Path(self.spec)  # not `source` where that is the copy in a run
        helpers = loaded_below(original.parent) | imports_of(self.source, original.parent)
        files = {path.relative_to(original.parent).as_posix(): path for path in helpers - {self.source}}
        files[original.name] = self.source
        return {name: file_hash(path) for name, path in sorted(files.items())}


def loaded_below(folder: Path) -> set[Path]:
    """Files of the custom modules that are loaded from at or below a folder, resolved."""
    from ignite_vision.source_code import is_installed

    loaded = [module for name, module in list(sys.modules.items()) if name not in ("__main__", "__mp_main__")]
    modules = [vars(module) for module in loaded if hasattr(module, "__dict__")]  # it may be None: not to be imported
    files = {file for module in modules if isinstance(file := module.get("__file__"), str)}
    paths = {Path(file).resolve() for file in files if not is_installed(file)}
    return {path for path in paths if path.is_relative_to(folder) and path.is_file()}


def load(spec: str) -> LoadedRecipe:
    """Return the recipe of a name (hyphen or underscore), of a recipe file, or for a folder of images.

    UserError when there is none, or its file does not import.
    """
    path = Path(spec).expanduser()
    if spec.endswith(".py"):
        return _load_file(path)
    name = spec.replace("-", "_")
    if name in names():
        module = importlib.import_module(f"{RECIPES}.{name}")
        return LoadedRecipe(module.recipe, name, name, folder() / f"{name}.py")
    if path.is_dir() or (path.suffix.lower() in MANIFESTS and path.is_file()):
        images = path.resolve()
        name = images.stem if path.is_file() else images.name
        return dataclasses.replace(load("folder"), name=name, spec=str(images), data=images)
    hint = did_you_mean(name, names())
    if path.suffix or "/" in spec:
        raise UserError("no such recipe file or folder", spec, hint or "Check the path.")
    raise UserError(f"no recipe '{spec}'", next_step=hint or f"Choose one of {', '.join(names())}, or give a path.")


def load_again(spec: str, copy: Path) -> LoadedRecipe:
    """Return the recipe of a run: from where it came from, else from the copy that the run keeps.

    spec: as in LoadedRecipe. UserError as for `load`, and when there is no copy either.
    """
    path = Path(spec)
    if not path.is_absolute() or path.exists():
        return load(spec)
    if path.suffix != ".py":  # a folder of images or a manifest that moved: --data says where to
        name = path.stem if path.suffix.lower() in MANIFESTS else path.name
        return dataclasses.replace(load("folder"), name=name, spec=spec)
    if not copy.is_file():
        raise UserError("the recipe file is missing, and the run has no copy of it", path, "Restore it.")
    module = _imported(copy, lambda: _execute(copy, path.stem))
    return LoadedRecipe(_recipe_in(module, copy), path.stem, spec, copy)


def _execute(path: Path, name: str) -> ModuleType:
    """Import a file under another name than its own."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a file that ends in .py has both
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _load_file(path: Path) -> LoadedRecipe:
    """Import a recipe file by its name, so that classes in it can be pickled for spawned workers."""
    if not path.is_file():
        raise UserError("no such recipe file", path, "Check the path.")
    path = path.resolve()
    if "." in path.stem:
        better = path.stem.replace(".", "_") + ".py"
        raise UserError("Python cannot import a file with a dot in its name", path, f"Rename it to {better}.")
    # appended, not put first: a random.py beside the recipe must not hide Python's own
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = _imported(path, lambda: importlib.import_module(path.stem))
    if Path(module.__file__ or "").resolve() != path:
        what = f"Python has another module called '{path.stem}' ({module.__file__})"
        raise UserError(what, path, "Rename the recipe file.")
    return LoadedRecipe(_recipe_in(module, path), path.stem, str(path), path)


def _imported(path: Path, load_module: Callable[[], ModuleType]) -> ModuleType:
    """Call load_module(); whatever goes wrong in the recipe becomes one line that names its file."""
    try:
        return load_module()
    except UserError as error:
        raise UserError(error.what, error.path or path, error.next_step, error.code) from error
    except Exception as error:  # a recipe is anybody's code
        raise UserError(
            _import_failure(path, error), path, "Fix the recipe; `ignite-vision --debug` shows the traceback."
        ) from error


def _recipe_in(module: ModuleType, path: Path) -> Recipe:
    from ignite_vision.recipe import Recipe

    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise UserError("no recipe in this file", path, "It needs a line: recipe = Recipe(data=..., model=...).")
    return recipe


def _import_failure(path: Path, error: Exception) -> str:
    """What went wrong, and in which line of the recipe."""
    if isinstance(error, SyntaxError):
        line = error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
    where = f" in line {line}" if line else ""
    return f"the recipe does not import: {type(error).__name__}: {error}{where}"
