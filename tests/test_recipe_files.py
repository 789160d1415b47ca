"""Recipes are found and read without importing them, and loaded from names, files and folders."""

import pickle
import subprocess
import sys

import pytest

from ignite_vision import Recipe
from ignite_vision import recipe_files as catalogue
from ignite_vision.errors import UserError
from ignite_vision.recipe_files import load, load_again


def test_every_recipe_of_the_product_is_there():
    wanted = {
        "caltech256",
        "stanford_dogs",
        "cifar10",
        "cifar10_resnet18",
        "fashion_mnist",
        "digits",
        "folder",
    }
    assert set(catalogue.names()) == wanted


def test_every_recipe_opens_with_a_title_and_its_command():
    for name in catalogue.names():
        text = catalogue.docstring(name)
        assert text.splitlines()[0].endswith((".", ".)"))
        assert "ignite-vision run" in text


def test_a_broken_recipe_is_listed_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text('"""Broken."""\nimport nowhere_to_be_found\n')
    monkeypatch.setattr(catalogue, "folder", lambda: tmp_path)
    assert catalogue.names() == ["broken"]
    assert catalogue.docstring("broken") == "Broken."


def test_a_name_may_have_hyphens_or_underscores():
    assert load("cifar10-resnet18").recipe is load("cifar10_resnet18").recipe


def test_an_unknown_recipe_suggests_the_nearest():
    with pytest.raises(UserError, match="no recipe 'cifar-1O'. Did you mean 'cifar10'?"):
        load("cifar-1O")


def test_an_unknown_recipe_with_no_neighbour_lists_all():
    with pytest.raises(UserError, match="Choose one of caltech256, cifar10"):
        load("zzzzzzz")


def test_a_folder_is_the_folder_recipe_under_its_own_name(tmp_path):
    folder = tmp_path / "birds"
    folder.mkdir()
    loaded = load(str(folder))
    assert (loaded.name, loaded.data, loaded.recipe) == ("birds", folder, load("folder").recipe)


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no such recipe file \(.*gone.py\)"):
        load(str(tmp_path / "gone.py"))
    with pytest.raises(UserError, match="no such recipe file or folder"):
        load(str(tmp_path / "gone"))


def write_recipe(folder, name, text):
    path = folder / f"{name}.py"
    path.write_text(text)
    return str(path)


GOOD = """
from ignite_vision import Recipe, datasets
recipe = Recipe(data=datasets.digits, model="digits_cnn", epochs=1)
"""


def test_a_recipe_file_loads_under_its_own_name(tmp_path):
    loaded = load(write_recipe(tmp_path, "recipe_of_my_own", GOOD))
    assert loaded.name == "recipe_of_my_own"
    assert sys.modules["recipe_of_my_own"].recipe is loaded.recipe


def test_a_file_that_does_not_import_names_the_reason_and_the_line(tmp_path):
    spec = write_recipe(tmp_path, "recipe_with_a_typo", "x = 1\nimport nowhere_to_be_found\n")
    with pytest.raises(UserError, match="ModuleNotFoundError: No module named 'nowhere_to_be_found' in line 2"):
        load(spec)
    spec = write_recipe(tmp_path, "recipe_with_bad_syntax", "x = 1\ny ==\n")
    with pytest.raises(UserError, match="does not import: SyntaxError.*in line 2"):
        load(spec)


def test_a_file_without_a_recipe_says_what_it_needs(tmp_path):
    with pytest.raises(UserError, match=r"It needs a line: recipe = Recipe\("):
        load(write_recipe(tmp_path, "recipe_without_a_recipe", "x = 1\n"))


def test_a_file_named_like_another_module_is_refused(tmp_path):
    with pytest.raises(UserError, match="Python has another module called 'random'.*Rename the recipe file"):
        load(write_recipe(tmp_path, "random", GOOD))


def test_a_module_beside_a_recipe_cannot_hide_pythons_own(tmp_path):
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('the wrong module')")
    load(write_recipe(tmp_path, "recipe_beside_colorsys", GOOD))
    import colorsys

    assert hasattr(colorsys, "rgb_to_hsv")


def test_a_run_whose_recipe_file_is_gone_uses_its_own_copy(tmp_path):
    copy = tmp_path / "run" / "recipe.py"
    copy.parent.mkdir()
    copy.write_text(GOOD)
    loaded = load_again(str(tmp_path / "recipe_that_is_gone.py"), copy)
    assert loaded.recipe.model == "digits_cnn"
    assert loaded.name == "recipe_that_is_gone"


def test_importing_every_recipe_does_nothing_but_define(monkeypatch):
    import torch

    def refuse(*_args, **_kwargs):
        raise AssertionError("a recipe built something while it was imported")

    monkeypatch.setattr(torch.nn.Module, "__init__", refuse)
    for name in catalogue.names():
        sys.modules.pop(f"ignite_vision.recipes.{name}", None)
        assert isinstance(load(name).recipe, Recipe)


def test_a_name_with_a_dot_is_refused_with_a_better_one(tmp_path):
    with pytest.raises(UserError, match=r"a dot in its name \(.*my.recipe.py\). Rename it to my_recipe.py"):
        load(write_recipe(tmp_path, "my.recipe", GOOD))


def test_a_name_with_a_hyphen_can_be_pickled_for_a_worker(tmp_path):
    load(write_recipe(tmp_path, "my-recipe", GOOD + "class Data:\n    x = 1\n"))
    data = pickle.dumps(sys.modules["my-recipe"].Data())
    program = f"import pickle, sys; sys.path.append({str(tmp_path)!r}); print(pickle.loads({data!r}).x)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"1\n"


def test_a_wrong_field_names_the_recipe_file(tmp_path):
    with pytest.raises(UserError, match=r"epochs must be a whole number.*\(.*recipe_without_epochs.py\)"):
        load(write_recipe(tmp_path, "recipe_without_epochs", GOOD.replace("epochs=1", "epochs=0")))


def test_a_copy_that_does_not_import_is_one_line(tmp_path):
    copy = tmp_path / "recipe.py"
    copy.write_text("import nowhere_to_be_found")
    with pytest.raises(UserError, match="the recipe does not import: ModuleNotFoundError.* in line 1"):
        load_again(str(tmp_path / "recipe_that_is_gone_too.py"), copy)
    with pytest.raises(UserError, match="the recipe file is missing, and the run has no copy of it"):
        load_again(str(tmp_path / "recipe_that_is_gone_too.py"), tmp_path / "no_copy.py")


HELPED = (
    GOOD
    + """
import helpers_a
def handlers(run):
    from helpers_b.inner import late
"""
)


def write_helped(folder):
    (folder / "helpers_b").mkdir()
    for name in ("helpers_a.py", "helpers_b/inner.py", "helpers_b/__init__.py", "unused_helper.py"):
        (folder / name).write_text(f"late = {name!r}\n")
    return write_recipe(folder, "recipe_with_helpers", HELPED)


@pytest.fixture
def fresh(monkeypatch):
    """Modules that a test loads, and folders where it finds them, are forgotten."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_the_sources_of_a_recipe_are_its_file_and_its_helpers(tmp_path, fresh):
    loaded = load(write_helped(tmp_path))
    names = ["helpers_a.py", "helpers_b/__init__.py", "helpers_b/inner.py", "recipe_with_helpers.py"]
    assert list(loaded.sources()) == names


@pytest.mark.parametrize("name", ["helpers_a.py", "helpers_b/inner.py", "recipe_with_helpers.py"])
def test_an_edit_changes_the_source_of_its_file_and_a_comment_none(tmp_path, name, fresh):
    spec = write_helped(tmp_path)
    before = load(spec).sources()
    path = tmp_path / name
    path.write_text("# a comment\n" + path.read_text())
    assert load(spec).sources() == before
    path.write_text(path.read_text() + "\nmore = 1\n")
    after = load(spec).sources()
    assert [key for key in after if after[key] != before[key]] == [name]


def test_the_source_of_a_built_in_recipe_is_its_own_file():
    assert list(load("digits").sources()) == ["digits.py"]


def test_the_source_of_a_folder_of_images_is_the_folder_recipe(tmp_path):
    assert load(str(tmp_path)).sources() == load("folder").sources()


def test_the_copy_in_a_run_has_the_source_of_the_original(tmp_path):
    spec = write_recipe(tmp_path, "recipe_that_is_copied", GOOD)
    before = load(spec).sources()
    copy = tmp_path / "run" / "recipe.py"
    copy.parent.mkdir()
    (tmp_path / "recipe_that_is_copied.py").rename(copy)
    assert load_again(spec, copy).sources() == before


def test_an_installed_package_below_the_recipes_folder_is_no_source(tmp_path, monkeypatch):
    packages = tmp_path / ".venv" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "installed_beside.py").write_text("")
    monkeypatch.syspath_prepend(packages)
    loaded = load(write_recipe(tmp_path, "recipe_with_a_venv", GOOD + "import installed_beside\n"))
    assert list(loaded.sources()) == ["recipe_with_a_venv.py"]
