"""The house of docs/design.md, checked from the imports, so that it cannot rot."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ignite_vision

ROOT = Path(__file__).parents[2]
PACKAGE = Path(ignite_vision.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "_version.py"))
MOST_LINES = 400
CONTAINERS = {"ImageFiles", "ArrayImages", "DatasetImages", "Decoded", "Resident", "Mapped", "Views"}


def test_the_page_shows_the_folders_the_layers_and_the_arrows_as_they_are():
    done = subprocess.run([sys.executable, "docs/draw.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_has_a_test_file_of_its_own(path):
    place = path.relative_to(PACKAGE)
    expected = ROOT / "tests" / place.parent / f"test_{place.stem.strip('_')}.py"
    assert expected.is_file(), f"{expected.relative_to(ROOT)} is missing"


def test_every_test_file_is_of_a_module_or_of_a_promise():
    for path in (ROOT / "tests").rglob("test_*.py"):
        place = path.relative_to(ROOT / "tests")
        if place.parts[0] == "promises":
            continue
        name = path.stem.removeprefix("test_")
        candidates = [PACKAGE / place.parent / file for file in (f"{name}.py", f"__{name}__.py", f"{name}.html")]
        folder = PACKAGE / place.parent
        named_after_the_folder = name in ("fit", "package", "command_line") and (folder / "__init__.py").is_file()
        assert named_after_the_folder or any(path.is_file() for path in candidates), f"{place} has no module"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_longer_than_a_person_reads(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_asks_an_image_container_or_a_source_for_its_type(path):
    if path.relative_to(PACKAGE).as_posix() == "data/containers.py":  # where they are made
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            named = {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
            assert not named & CONTAINERS, f"line {node.lineno}"


def test_nothing_in_loading_or_below_knows_a_run():
    for folder in ("loading", "data", "models", "system"):
        for path in (PACKAGE / folder).rglob("*.py"):
            assert "training" not in {name.split(".")[1] for name in imported(path)}, path


def imported(path: Path) -> set[str]:
    """Our modules that a file imports."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return {node.module for node in nodes if (node.module or "").startswith("ignite_vision.")}


def test_nobody_imports_a_recipe():
    for path in MODULES:
        assert not any(name.startswith("ignite_vision.recipes") for name in imported(path))
        assert "import ignite_vision.recipes" not in path.read_text()
