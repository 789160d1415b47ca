"""The drawing in docs/design.md, checked from the imports, so that it cannot rot."""

import ast
from pathlib import Path

import pytest

import ignite_vision

PACKAGE = Path(ignite_vision.__file__).parent
LAYERS = [
    {
        "_version",
        "errors",
        "history",
        "randomness",
        "images",
        "preprocessing",
        "catalogue",
        "signals",
        "model_file",
        "checkpoint",
        "scalars",
        "distributed",
        "console",
    },
    {"splits", "folders"},
    {"datasets", "augment", "networks", "models", "environment", "curves"},
    {"recipe", "cache"},
    {"sources"},
    {"loaders"},
    {"run"},
    {"engines", "features", "prepare"},
    {"handlers", "saving"},
    {"training", "evaluation"},
    {"results"},
    {"cli", "__main__", "launch"},
]
LAYER = {module: depth for depth, modules in enumerate(LAYERS) for module in modules}


def imports_at_run_time(path: Path) -> set[str]:
    """Our modules that a file imports, those only for type checking left out."""
    found = set()
    nodes = list(ast.parse(path.read_text()).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "ignite_vision":
            found |= {alias.name for alias in node.names if alias.name in LAYER}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ignite_vision."):
            found.add(node.module.split(".")[1])
        nodes.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_a_module_imports_only_from_its_own_layer_and_those_below(path):
    if path.stem == "__init__":
        return
    assert path.stem in LAYER, f"give {path.stem} a layer"
    too_high = {name for name in imports_at_run_time(path) if LAYER.get(name, 99) > LAYER[path.stem]}
    assert not too_high


def test_there_is_no_import_cycle():
    graph = {path.stem: imports_at_run_time(path) for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"cycle: {' -> '.join((*above, module))}"
        if module not in done:
            for other in graph.get(module, ()):
                visit(other, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_nobody_imports_a_recipe():
    for path in PACKAGE.glob("*.py"):
        assert "recipes" not in imports_at_run_time(path)
        assert "import ignite_vision.recipes" not in path.read_text()
