"""The normal form of source code, and where code comes from: seen on real files and functions."""

import ast
import functools
import sys
from pathlib import Path

import pytest
import torch

import ignite_vision
from ignite_vision.source_code import (
    class_source,
    file_hash,
    function_source,
    globals_of,
    imports_of,
    is_custom,
    is_installed,
    normal_form,
)


def form(text):
    return normal_form(ast.parse(text))


def test_comments_docstrings_formatting_and_positions_do_not_count():
    assert form('"""Title."""\n\ndef f(x):  # why\n    """Doc."""\n    return (x + 1)\n') == form(
        "def f(x): return x+1"
    )


def test_every_constant_name_and_operator_counts():
    base = form("def f(x): return x + 1")
    others = ["def f(x): return x + 2", "def f(x): return x - 1", "def f(x): return 1 + x", "def g(x): return x + 1"]
    others += ["def f(x): return x + 1.0", "def f(x): return x + True", "def f(x): return x + '1'", "x + 1"]
    assert len({base, *map(form, others)}) == len(others) + 1


def test_a_string_that_is_a_value_counts():
    assert form("f('a')") != form("f('b')")
    assert form("x = f'a{b:>3}'") != form("x = f'a{b:>4}'")


# made with Python 3.10, 3.11, 3.12 and 3.13: they agree
FROZEN = '''
class A(B, key=1):
    """Doc."""
    x: int = -1
    async def f(self, *a, k: "K" = 0x10, **kw) -> None:
        async with a as b: yield lambda y, /: [i for i in y if i] or {**kw}
    match x:
        case {"a": [1, *_], **rest} | A(x=2): f"{x!r:>{width}}é{y:.3f}{z=}"
'''
FROZEN_HASH = "17c9cb0112d54fc733e94fe632b80f2cd838a869c6dbafa469bffc2b72d68234"


def test_the_normal_form_is_frozen(tmp_path):
    """A change here would give every custom function another hash, and no run would be found again."""
    path = tmp_path / "frozen.py"
    path.write_text(FROZEN, encoding="utf-8")
    assert file_hash(path) == FROZEN_HASH


def test_a_sum_of_a_thousand_terms_has_a_normal_form():
    assert form(" + ".join(["x"] * 1000)).count("BinOp") == 999


def test_a_file_that_is_no_python_is_hashed_by_its_bytes(tmp_path):
    (tmp_path / "a.so").write_bytes(b"\x7fELF\x00")
    (tmp_path / "b.so").write_bytes(b"\x7fELF\x01")
    assert file_hash(tmp_path / "a.so") != file_hash(tmp_path / "b.so")


def test_python_and_installed_packages_are_not_custom():
    assert not any(map(is_custom, ("functools", "torch.nn.functional", "torch._C", "numpy", "ignite_vision.augment")))
    assert is_custom(__name__) and is_custom("ignite_vision.recipes.folder")


def test_a_virtual_environment_beside_a_recipe_is_installed(tmp_path):
    assert is_installed(str(tmp_path / ".venv/lib/python3.11/site-packages/x/y.py"))
    assert is_installed(torch.__file__) and is_installed(ast.__file__) and is_installed(ignite_vision.__file__)
    assert not is_installed(str(tmp_path / "helper.py"))


def test_two_lambdas_in_one_line_have_their_own_source():
    scale = 3
    plus, minus, closing = lambda x: x + 1, lambda x: x - 1, lambda x: x * scale
    assert len({function_source(plus), function_source(minus), function_source(closing)}) == 3
    assert "Add()" in function_source(plus) and "Sub()" in function_source(minus)


@functools.wraps(ast.parse)
def decorated(x):
    return x


def test_a_decorated_function_is_found_by_its_first_line():
    assert function_source(decorated).startswith("FunctionDef(name='decorated'")


def test_a_function_without_source_is_known_by_its_bytecode():
    one, two = {}, {}
    exec("def f(x): return x + 1", one)
    exec("def f(x): return x + 2", two)
    assert function_source(one["f"]) != function_source(two["f"])


class Outer:
    class Inner:
        value = 1

    def method(self):
        return CONSTANT, helper()


CONSTANT = 7


def helper():
    return imports_of


def test_a_class_is_found_by_its_qualified_name():
    assert class_source(Outer.Inner).startswith("ClassDef(name='Inner'")
    assert "'Inner'" in class_source(Outer)


def test_a_function_refers_to_the_globals_that_it_loads():
    assert globals_of(Outer.method) == {"CONSTANT": 7, "helper": helper}
    assert globals_of(helper) == {"imports_of": imports_of}


def test_imports_are_followed_also_inside_functions_and_packages(tmp_path):
    (tmp_path / "pkg").mkdir()
    files = {
        "recipe.py": "import torch, random\ndef f():\n    from pkg import part\n",
        "pkg/__init__.py": "",
        "pkg/part.py": "from . import sibling\nfrom .deeper import x\n",
        "pkg/sibling.py": "",
        "pkg/deeper.py": "import recipe",
        "unused.py": "",
        "random.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = imports_of(tmp_path / "recipe.py", tmp_path)
    wanted = {"pkg/__init__.py", "pkg/part.py", "pkg/sibling.py", "pkg/deeper.py"}
    assert {path.relative_to(tmp_path).as_posix() for path in found} == wanted


def test_a_reload_of_an_edited_file_is_seen(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "edited_helper.py"
    path.write_text("def f(x):\n    return x\n")
    import edited_helper

    before = function_source(edited_helper.f)
    path.write_text("def f(x):\n    return x + 1000\n")
    del sys.modules["edited_helper"]
    import edited_helper

    assert function_source(edited_helper.f) != before


@pytest.mark.parametrize("path", sorted(Path(ignite_vision.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_our_own_modules_have_a_normal_form(path):
    assert len(file_hash(path)) == 64
