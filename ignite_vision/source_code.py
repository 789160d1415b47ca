"""Source code as far as it decides what happens: which modules are custom, where a definition is, its normal form.

The normal form of a piece of code leaves out comments, docstrings, formatting and positions, and is the same text under
every supported Python (`ast.dump` is not: fields come and go). Nothing here imports torch.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import linecache
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

OWN = "ignite_vision"
RECIPES = f"{OWN}.recipes"  # the built-in recipes are read as any recipe is
LEFT_OUT = {"ctx", "kind", "type_comment"}  # of a node: they follow from the rest, or change nothing


def short_hash(text: str) -> str:
    """Eight hex digits of SHA-256: for people to compare, and enough for the few values of one recipe."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a module's normal form; of the bytes of what is no Python source."""
    content = path.read_bytes()
    try:
        content = normal_form(_parse(content)).encode()
    except (SyntaxError, ValueError):
        pass
    return hashlib.sha256(content).hexdigest()


def is_installed(file: str) -> bool:
    """Whether a module's file belongs to Python, to an installed package or to ignite_vision itself."""
    path = os.path.realpath(file)
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(path).parts) or path.startswith(_installed_folders())


@functools.cache
def _installed_folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    folders = [sysconfig.get_paths()[name] for name in names] + [str(Path(__file__).parent)]
    return tuple(os.path.realpath(folder) + os.sep for folder in folders)


def is_custom(module: str) -> bool:
    """Whether a module, by its name, is the user's: a recipe or what lies beside one, and so may change any day."""
    if module == OWN or module.startswith(f"{OWN}."):
        return module.startswith(f"{RECIPES}.")
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return False
    files = [vars(sys.modules[name]).get("__file__") for name in (module, top) if name in sys.modules]
    file = next(filter(None, files), None)  # a module that a library made in memory has none, but the library has
    return file is None or not is_installed(file)


def normal_form(tree: ast.AST) -> str:
    """The code as text: `ast.dump` without docstrings, positions, empty fields, and differences between Pythons."""
    out: list[str] = []
    todo: list[Any] = [tree]  # a stack, since a sum of 500 terms is 500 nodes deep
    while todo:
        item = todo.pop()
        if isinstance(item, _Token):
            out.append(item)
        elif isinstance(item, ast.AST):
            todo += [_Token(")"), *reversed(_fields(item)), _Token(f"{type(item).__name__}(")]
        elif isinstance(item, list):
            todo += [_Token("]"), *reversed([part for part in item if not _is_docstring(part)]), _Token("[")]
        else:
            # repr of a str depends on the Unicode tables of a Python, repr of a huge int is refused by newer ones
            out.append((hex(item) if type(item) is int else ascii(item)) + ",")
    return "".join(out)


class _Token(str):
    """Text of the normal form, unlike a constant of the code."""


def _fields(node: ast.AST) -> list[Any]:
    """Names and values of a node's fields in turn, without those that are empty."""
    found: list[Any] = []
    for name in node._fields:
        value = _parts(node) if isinstance(node, ast.JoinedStr) else getattr(node, name, None)
        if name not in LEFT_OUT and value is not None and value != []:
            found += [_Token(f"{name}="), value]
    return found


def _is_docstring(node: Any) -> bool:
    """Whether a statement is a bare string: a docstring, or a comment written as one."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _parts(node: ast.JoinedStr) -> list[ast.expr]:
    """Parts of an f-string without the empty ones, which Python 3.12 adds."""
    return [part for part in node.values if not isinstance(part, ast.Constant) or part.value]


@functools.lru_cache(maxsize=16)
def _parse(source: str | bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bad escapes in strings, which importing the module told already
        return ast.parse(source)


def _tree_of(file: str, namespace: dict[str, Any]) -> ast.Module | None:
    """The module in a file, or in whatever holds a notebook's cells; None if its source is not at hand."""
    linecache.checkcache(file)
    try:
        return _parse("".join(linecache.getlines(file, namespace)))
    except (SyntaxError, ValueError):
        return None


def function_source(function: FunctionType) -> str:
    """Normal form of a function or lambda; its bytecode where there is no source (code that was exec'd)."""
    code = function.__code__
    tree = _tree_of(code.co_filename, function.__globals__)
    kinds = ast.Lambda if code.co_name == "<lambda>" else (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [
        node
        for node in ast.walk(tree or ast.Module([], []))
        if isinstance(node, kinds)
        and _first_line(node) == code.co_firstlineno
        and getattr(node, "name", code.co_name) == code.co_name
    ]
    if len(found) > 1:  # lambdas in one line
        found = [node for node in found if isinstance(node, ast.Lambda) and _compiles_to(node, code)]
    return normal_form(found[0]) if found else repr(_bytecode(code))


def _first_line(node: Any) -> int:
    """Line of a definition, or of its first decorator: what co_firstlineno says."""
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])


def _compiles_to(node: ast.Lambda, code: CodeType) -> bool:
    """Whether a lambda's node gives this code, with the same names taken from around it."""
    maker = ast.parse(f"def maker({', '.join(code.co_freevars)}): return 0")
    maker.body[0].body[0].value = node  # type: ignore[attr-defined]
    (outer,) = _codes_in(compile(maker, code.co_filename, "exec", dont_inherit=True))
    (inner,) = _codes_in(outer)
    return _bytecode(inner) == _bytecode(code)


def _codes_in(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _bytecode(code: CodeType) -> tuple[Any, ...]:
    """What a code object does, without where it stands."""
    constants = [_bytecode(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return (code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants)


def class_source(cls: type) -> str:
    """Normal form of a class definition; an empty text where there is no source."""
    namespace = vars(sys.modules.get(cls.__module__, ModuleType("")))
    lines = {f.__code__.co_firstlineno: f.__code__.co_filename for f in functions_of(cls)}
    file = namespace.get("__file__") or next(iter(lines.values()), "")
    tree = _tree_of(file, namespace)
    found = [node for name, node in _classes_in(tree) if name == cls.__qualname__] if tree else []
    holding = [node for node in found if any(node.lineno <= line <= (node.end_lineno or 0) for line in lines)]
    return "".join(map(normal_form, holding or found))


def functions_of(cls: type) -> list[FunctionType]:
    """The functions written in a class's body, without those that a decorator such as `dataclass` generated."""
    values = [getattr(value, "fget", None) or getattr(value, "__func__", value) for value in vars(cls).values()]
    return [f for f in values if isinstance(f, FunctionType) and not f.__code__.co_filename.startswith("<string>")]


def _classes_in(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.ClassDef]]:
    """(qualified name, definition) of every class below a node."""
    for child in ast.iter_child_nodes(node):
        name = prefix
        if isinstance(child, ast.ClassDef):
            yield prefix + child.name, child
            name = f"{prefix}{child.name}."
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{prefix}{child.name}.<locals>."
        yield from _classes_in(child, name)


def globals_of(function: FunctionType) -> dict[str, Any]:
    """What a function refers to by a global name, or as an attribute of a custom module: name -> value.

    Not `__file__` and its like: they say where a module is.
    """
    names, attributes = _names_in(function.__code__)
    return dict(_reached(names, attributes, function.__globals__, set()))


def _names_in(code: CodeType) -> tuple[set[str], set[str]]:
    """(global names, attribute names) that a code object and those inside it load."""
    names, attributes = set(), set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names.add(instruction.argval)
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            attributes.add(instruction.argval)
    for inner in _codes_in(code):
        more = _names_in(inner)
        names |= more[0]
        attributes |= more[1]
    return names, attributes


def _reached(
    names: set[str], attributes: set[str], namespace: dict[str, Any], seen: set[int]
) -> Iterator[tuple[str, Any]]:
    seen.add(id(namespace))
    for name in sorted(name for name in names & namespace.keys() if not name.startswith("__")):
        value = namespace[name]
        if not isinstance(value, ModuleType):
            yield name, value
        elif is_custom(value.__name__) and id(vars(value)) not in seen:
            for attribute, inner in _reached(attributes, attributes, vars(value), seen):
                yield f"{name}.{attribute}", inner


def imports_of(path: Path, folder: Path) -> set[Path]:
    """Modules at or below a folder that a file imports, and they in turn, those inside functions as well."""
    found: set[Path] = set()
    todo = [path]
    while todo:
        file = todo.pop()
        new = {p for name in _imported_names(file, folder) if (p := _module_file(name, folder))} - found - {path}
        found |= new
        todo += new
    return found


def _imported_names(file: Path, folder: Path) -> set[str]:
    """Dotted names that a file's import statements may load, with the packages above them."""
    try:
        tree = _parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = node.level and file.is_relative_to(folder)
            above = file.relative_to(folder).parts[: -node.level] if inside else ()
            base = ".".join(filter(None, (*above, node.module)))
            names |= {base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)}
    parts = [name.split(".") for name in names if name.partition(".")[0] not in sys.stdlib_module_names]
    return {".".join(part[:n]) for part in parts for n in range(1, len(part) + 1)}


def _module_file(name: str, folder: Path) -> Path | None:
    base = folder.joinpath(*name.split("."))
    candidates = (base / "__init__.py", base.with_name(f"{base.name}.py"))
    return next((path for path in candidates if path.is_file() and not is_installed(str(path))), None)
