"""What the command line pulls in, seen by a fresh interpreter."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "ignite", "numpy", "sklearn", "tensorboardX", "PIL")


def modules_after(code: str) -> set[str]:
    """Top-level modules that are loaded once `code` has run."""
    program = f"import sys\n{code}\nprint(' '.join(sorted(m.split('.')[0] for m in sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["--version"], ["run", "--help"]])
def test_help_and_list_never_import_torch(arguments):
    code = f"from ignite_vision.cli import command_line\ncommand_line().main({arguments!r}, standalone_mode=False)"
    assert not modules_after(code) & set(HEAVY)


def test_importing_the_package_imports_nothing_heavy():
    assert not modules_after("import ignite_vision") & set(HEAVY)


def test_recipe_and_splits_come_from_the_package_itself():
    from ignite_vision import Recipe, Splits

    assert Recipe.__name__ == "Recipe"
    assert Splits.__name__ == "Splits"


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    import ignite_vision

    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        _ = ignite_vision.Trainer
