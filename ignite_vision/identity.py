"""What a recipe is: every field as a JSON value, and a hash over those that decide the result.

A description hides nothing that decides the result and holds nothing that changes by itself: functions and classes go
by name, and by their source where the user may edit it; objects by class and state. `show` prints it, run.json keeps
it, and cache keys are made of it.
"""

from __future__ import annotations

import contextlib
import copyreg
import dataclasses
import functools
import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path, PurePath
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from ignite_vision import augment, datasets
from ignite_vision.errors import UserError
from ignite_vision.recipe import Recipe
from ignite_vision.source_code import (
    OWN,
    RECIPES,
    class_source,
    file_hash,
    function_source,
    functions_of,
    globals_of,
    is_custom,
    short_hash,
)

# Our own names are described by where users find them, so that they may move between private modules.
PUBLIC_MODULES = (datasets, augment)
PUBLIC_NAMES = {"TorchvisionDataset": f"{OWN}.datasets:torchvision_dataset"}  # a class behind a public function
LONGEST = 300  # characters of a nested description; what is longer is cut and hashed
DEEPEST = 100  # objects inside of one another: Python's own limit is 1,000 calls
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range, slice)
COMPILED = "_torchdynamo_orig_callable"  # where torch.compile keeps the function that it was given
MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))  # every module has them


def fields_of(recipe: Recipe) -> dict[str, Any]:
    """Every field as a JSON value, in order. UserError for what cannot be described."""
    return {field.name: _field(field.name, getattr(recipe, field.name)) for field in dataclasses.fields(recipe)}


def _field(name: str, value: Any) -> Any:
    """Describe a field's value; of the handlers no global objects: a clock's start or a log says nothing of them."""
    return describe(value, name, with_globals=name != "handlers")


def identity(recipe: Recipe) -> dict[str, Any]:
    """The fields, described, that differ from Recipe's defaults, without `epochs`: a run may be trained longer.

    A new field with a default therefore changes no recipe's identity.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(recipe)}
    return {
        name: value
        for name, value in fields_of(recipe).items()
        if name != "epochs" and (defaults[name] is dataclasses.MISSING or value != _field(name, defaults[name]))
    }


def digest(recipe: Recipe, data_name: str, weights_content: str | None = None) -> str:
    """Six hex digits over everything that decides the result.

    weights_content: a hash of what is in the weights; without it a file of weights counts by its name, not its folder.
    """
    fields = identity(recipe)
    if "weights" in fields:
        fields["weights"] = weights_content or Path(fields["weights"]).name
    text = json.dumps([fields, data_name], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def describe(value: Any, name: str = "the value", *, with_globals: bool = True) -> Any:
    """A JSON value that says what `value` is: numbers, strings, lists and dicts as they are, all else as text.

    For example `ignite_vision.datasets:digits`, `torch.nn.modules.loss:CrossEntropyLoss(label_smoothing=0.1, …)`, or
    `my_recipe:sgd#1b2c3d4e`: a hash of its source, of the custom functions that it refers to by a global name, and,
    with_globals, of the objects as well.
    UserError that starts with `name` for what has no state to describe: open files, locks, generators.
    """
    describer = _Describer(with_globals)
    try:
        return _plain(value, name, describer)
    except RecursionError:
        return describer.text(value, name)  # a list that holds itself


def _plain(value: Any, where: str, describer: _Describer) -> Any:
    """The value itself where JSON has it, else its text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, PurePath):
        return str(value)
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return value
    if type(value) in (list, tuple):
        return [_plain(item, f"{where}[{i}]", describer) for i, item in enumerate(value)]
    if type(value) is dict and all(type(key) is str for key in value):
        return {key: _plain(item, f"{where}[{key!r}]", describer) for key, item in value.items()}
    return describer.text(value, where)


class _Describer:
    """Turns one value into text. Remembers what it is inside of, for objects that hold themselves."""

    def __init__(self, with_globals: bool) -> None:
        self.with_globals = with_globals
        self.around: list[Any] = []

    def text(self, value: Any, where: str) -> str:
        """Describe any value. where: how a person would reach it, for the error message."""
        if len(self.around) > DEEPEST:
            raise UserError(f"{where[:80]} is nested too deeply to be described", next_step="Nest it less.")
        if type(value) in PLAIN:
            return _shortened(json.dumps(value) if type(value) is str else ascii(value))
        for levels, outer in enumerate(reversed(self.around), start=1):
            if outer is value:
                return f"<itself, {levels} levels up>"
        self.around.append(value)
        try:
            return _shortened(self._compound(value, where))
        finally:
            self.around.pop()

    def _compound(self, value: Any, where: str) -> str:
        for kinds, describer in KINDS:
            if isinstance(value, kinds):
                return describer(self, value, where)
        exact = COLLECTIONS.get(type(value))
        if exact is not None:
            return exact(self, value, where)
        if dataclasses.is_dataclass(value):
            return self._dataclass(value, where)
        return self._object(value, where)

    def _named(self, values: Iterable[tuple[Any, Any]], where: str) -> list[str]:
        return [f"{name}={self.text(value, f'{where}.{name}')}" for name, value in sorted(values, key=_first)]

    def _items(self, values: Iterable[Any], where: str) -> list[str]:
        return [self.text(value, f"{where}[{i}]") for i, value in enumerate(values)]

    def _mapping(self, value: dict[Any, Any], where: str) -> str:
        pairs = [(self.text(key, where), self.text(item, f"{where}[{key!r}]")) for key, item in value.items()]
        return f"{{{', '.join(f'{key}: {item}' for key, item in sorted(pairs))}}}"

    def _enum(self, value: Enum, where: str) -> str:
        return f"{self.text(type(value), where)}.{value.name}"

    def _number(self, value: np.generic, where: str) -> str:
        return self.text(value.item(), where)

    def _path(self, value: PurePath, where: str) -> str:
        return self.text(str(value), where)

    def _module(self, value: ModuleType, _where: str) -> str:
        file = vars(value).get("__file__")
        custom = is_custom(value.__name__)
        return f"module {value.__name__}" + (f"#{file_hash(Path(file))[:8]}" if file and custom else "")

    def _class(self, value: type, _where: str) -> str:
        return _name(value) + (f"#{self._source(value)}" if _is_open(value) else "")

    def _function(self, value: FunctionType, where: str) -> str:
        if COMPILED in vars(value):  # what torch.compile keeps beside it are addresses
            return _call("torch:compile", [self.text(vars(value)[COMPILED], where)])
        if not _is_open(value):
            return _name(value)
        inside = self._named({**_attributes(value), **_arguments(value)}.items(), where)
        source = f"#{self._source(value)}" if is_custom(value.__module__) else ""
        return _name(value) + source + (f"({', '.join(inside)})" if inside else "")

    def _source(self, value: FunctionType | type) -> str:
        """Hash of a definition and of what it refers to by name: custom definitions, they in turn, and objects."""
        parts: list[str] = []
        todo: list[FunctionType | type] = [value]
        seen: set[int] = set()
        while todo:
            item = todo.pop()
            seen.add(id(item))
            parts.append(
                f"{_name(item)} {function_source(item) if isinstance(item, FunctionType) else class_source(item)}"
            )
            for name, other in _referred_to(item, with_arguments=item is not value):
                if not isinstance(other, FunctionType | type):
                    parts += [f"{name}={text}" for text in self._tried(other)]
                elif not _is_open(other):
                    parts.append(f"{name}={_name(other)}")
                elif id(other) not in seen:
                    todo.append(other)
        return short_hash("\n".join(sorted(parts)))

    def _tried(self, value: Any) -> list[str]:
        """Text of an object that a function refers to by a global name; nothing of what has none: an open file, say.

        Nor of a recipe, which is described elsewhere, and of an absolute path, which says where and not what.
        """
        if not self.with_globals or isinstance(value, Recipe) or _is_place(value):
            return []
        try:
            return [self.text(value, "")]
        except UserError:
            return []

    def _scripted(self, value: Any, where: str) -> str:
        raise _cannot(value, where)

    def _partial(self, value: functools.partial[Any], where: str) -> str:
        arguments = self._items((value.func, *value.args), where)
        return _call(self.text(type(value), where), arguments + self._named(value.keywords.items(), where))

    def _tensor(self, value: torch.Tensor, where: str) -> str:
        name = _name(type(value))
        if nn.parameter.is_lazy(value):
            return _call(name, ["uninitialized"])
        plain = value.detach().resolve_conj().resolve_neg()
        plain = plain.to_dense() if plain.layout != torch.strided else plain
        parts = [str(value.dtype), str(list(value.shape))] + ["requires_grad"] * value.requires_grad
        if value.device.type == "meta":
            return _call(name, [*parts, "meta"])
        try:
            content = plain.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        except (RuntimeError, TypeError, NotImplementedError) as error:
            raise _cannot(value, where) from error
        return _call(name, [*parts, f"#{hashlib.sha256(content).hexdigest()[:8]}"])

    def _array(self, value: np.ndarray, where: str) -> str:
        if value.dtype.hasobject:
            return _call(_name(type(value)), [str(value.dtype), self.text(value.tolist(), where)])
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:8]
        return _call(_name(type(value)), [str(value.dtype), str(list(value.shape)), f"#{content}"])

    def _network(self, value: nn.Module, where: str) -> str:
        if COMPILED in vars(value):
            return _call("torch:compile", [self.text(value.get_submodule("_orig_mod"), where)])
        state = {key: item for key, item in vars(value).items() if key not in MODULE_ATTRIBUTES}
        state |= {key: tensor for key, tensor in (*value._parameters.items(), *value._buffers.items())}
        # hooks are kept under numbers that count up in a process
        hooks = {key: list(vars(value)[key].values()) for key in MODULE_ATTRIBUTES if key.endswith("_hooks")}
        state |= {key: functions for key, functions in hooks.items() if functions}
        state |= {} if value.training else {"training": False}
        children = [f"{key}: {self.text(child, f'{where}.{key}')}" for key, child in value._modules.items()]
        return _call(self.text(type(value), where), self._named(state.items(), where) + children)

    def _dataclass(self, value: Any, where: str) -> str:
        names = {field.name: field for field in dataclasses.fields(value)}
        state = {name: getattr(value, name) for name in names if hasattr(value, name)}
        state = {name: item for name, item in state.items() if not self._is_default(item, names[name], where)}
        state |= {name: item for name, item in getattr(value, "__dict__", {}).items() if name not in names}
        return _call(self.text(type(value), where), self._named(state.items(), where))

    def _is_default(self, value: Any, field: dataclasses.Field[Any], where: str) -> bool:
        default = field.default_factory() if callable(field.default_factory) else field.default
        return default is not dataclasses.MISSING and self.text(value, where) == self.text(default, where)

    def _object(self, value: Any, where: str) -> str:
        """Describe by what pickle would keep: the class (or a function that makes it), arguments, state, items."""
        try:
            reduced = copyreg.dispatch_table.get(type(value), lambda it: it.__reduce_ex__(2))(value)
        except RecursionError:
            raise
        except Exception as error:  # whatever a class raises to say that it cannot be kept
            raise _cannot(value, where) from error
        if isinstance(reduced, str):  # a global name
            return self._global(value, getattr(value, "__module__", None) or type(value).__module__, reduced)
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        if make is copyreg.__newobj__:  # type: ignore[attr-defined]
            make, *arguments = arguments
        parts = self._items(arguments, where) + self._state(state, where)
        parts += self._items(items or (), where) + [self._mapping({key: item}, where) for key, item in pairs or ()]
        return _call(self.text(make, where), parts)

    def _global(self, value: Any, module: str, name: str) -> str:
        """Describe a callable in C by its name; a cache around a custom function by what it calls, too."""
        wrapped = getattr(value, "__wrapped__", None)
        inside = f"({self.text(wrapped, '')})" if wrapped is not None and is_custom(module) else ""
        return f"{module}:{name}{inside}"

    def _state(self, state: Any, where: str) -> list[str]:
        """State as pickle has it: a dict, (dict, slots), or anything that the class understands."""
        if isinstance(state, tuple) and len(state) == 2 and all(isinstance(s, dict | None) for s in state):
            state = {**(state[0] or {}), **(state[1] or {})}
        if isinstance(state, dict) and all(isinstance(key, str) for key in state):
            return self._named(state.items(), where)
        return [] if state is None else [f"state={self.text(state, where)}"]


KINDS: tuple[tuple[Any, Callable[[_Describer, Any, str], str]], ...] = (
    (Enum, _Describer._enum),
    (np.generic, _Describer._number),
    (PurePath, _Describer._path),
    (ModuleType, _Describer._module),
    ((torch.jit.ScriptModule, torch.jit.ScriptFunction), _Describer._scripted),
    (type, _Describer._class),
    (FunctionType, _Describer._function),
    (functools.partial, _Describer._partial),
    (torch.Tensor, _Describer._tensor),
    (np.ndarray, _Describer._array),
    (nn.Module, _Describer._network),
)
COLLECTIONS: dict[type, Callable[[_Describer, Any, str], str]] = {
    list: lambda self, value, where: f"[{', '.join(self._items(value, where))}]",
    tuple: lambda self, value, where: f"({', '.join(self._items(value, where))})",
    set: lambda self, value, where: f"{{{', '.join(sorted(self._items(value, where)))}}}",
    frozenset: lambda self, value, where: f"{{{', '.join(sorted(self._items(value, where)))}}}",
    dict: _Describer._mapping,
}


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]


def _call(name: str, arguments: list[str]) -> str:
    return f"{name}({', '.join(arguments)})"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… #{short_hash(text)}"


def _is_place(value: Any) -> bool:
    return isinstance(value, str | PurePath) and Path(value).is_absolute()


def _cannot(value: Any, where: str) -> UserError:
    what = f"{where} cannot be described: an object of {type(value).__name__} has no state that can be compared"
    return UserError(what, next_step="Keep what it is made from (a path, a seed), and make it where it is used.")


def _name(value: FunctionType | type) -> str:
    """`module:qualified name`; one of ours goes by the module where users find it, else by the package's name."""
    module, name = value.__module__, value.__qualname__
    if module is None or module.partition(".")[0] != OWN or module.startswith(f"{RECIPES}."):
        return f"{module}:{name}"
    public = next((public.__name__ for public in PUBLIC_MODULES if getattr(public, name, None) is value), OWN)
    return PUBLIC_NAMES.get(name, f"{public}:{name}")


def _is_open(value: FunctionType | type) -> bool:
    """Whether a name alone does not say what a function or class does: it is custom, or was made by a call."""
    found: Any = sys.modules.get(value.__module__)
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is not value or is_custom(value.__module__)


def _arguments(function: FunctionType) -> dict[str, Any]:
    """What a function brings with it: defaults of its parameters, and variables captured from around it."""
    code, defaults = function.__code__, function.__defaults__ or ()
    positional = code.co_varnames[: code.co_argcount]
    found = dict(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
    found |= function.__kwdefaults__ or {}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # a variable that has no value yet
            found[name] = cell.cell_contents
    return found


def _attributes(function: FunctionType) -> dict[str, Any]:
    """What was set on a function (`noise.draws = 1`)."""
    return {name: value for name, value in vars(function).items() if name != "__wrapped__"}


def _referred_to(item: FunctionType | type, *, with_arguments: bool) -> list[tuple[str, Any]]:
    """(name, value) of what a definition uses beside its own text."""
    if isinstance(item, FunctionType):
        own = {**_arguments(item), **_attributes(item)} if with_arguments else {}
        return [*globals_of(item).items(), *own.items()]
    found: list[tuple[str, Any]] = [("base", base) for base in item.__bases__]
    found += [(name, value) for name, value in vars(item).items() if name[0] != "_" and type(value) in COLLECTIONS]
    found += [(name, value) for name, value in vars(item).items() if name[0] != "_" and type(value) in PLAIN]
    for function in functions_of(item):
        found += [pair for pair in _referred_to(function, with_arguments=True) if pair[1] is not item]
    return found
