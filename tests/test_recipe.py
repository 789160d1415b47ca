"""Recipes as values: loading, overriding, describing, and every way to get one wrong."""

import dataclasses
import functools
import sys

import pytest

from ignite_vision import Recipe, datasets
from ignite_vision.augment import RandomHorizontalFlip
from ignite_vision.errors import UserError
from ignite_vision.recipe import describe, digest, fields_of, override
from ignite_vision.recipe_files import load, load_again


def tiny(**changes):
    return Recipe(**{"data": datasets.digits, "model": "digits_cnn", "epochs": 1, **changes})


def test_a_name_may_have_hyphens_or_underscores():
    assert load("cifar10-resnet18").recipe is load("cifar10_resnet18").recipe


def test_an_unknown_recipe_suggests_the_nearest():
    with pytest.raises(UserError, match="no recipe 'cifar-1O'. Did you mean 'cifar10'?"):
        load("cifar-1O")


def test_an_unknown_recipe_with_no_neighbour_lists_all():
    with pytest.raises(UserError, match="There are caltech256, cifar10"):
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


def test_a_file_of_ones_own_loads_under_its_own_name(tmp_path):
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


def test_set_reads_text_as_the_fields_type():
    recipe = override(
        tiny(), {"lr": "0.01", "epochs": "7", "model": "resnet18", "patience": "none", "optimizer": "SGD"}
    )
    assert (recipe.lr, recipe.epochs, recipe.model, recipe.patience) == (0.01, 7, "resnet18", None)


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("learning_rate", "0.1", "no field 'learning_rate' in Recipe"),
        ("epoch", "1", "Did you mean 'epochs'?"),
        ("epochs", "many", "epochs must be a whole number, not 'many'"),
        ("epochs", "0", "epochs must be a whole number of at least 1"),
        ("lr", "fast", "lr must be a number, not 'fast'"),
        ("lr", "-1", "lr must be above 0"),
        ("val_fraction", "1.5", "val_fraction must be at least 0 and below 1"),
        ("handlers", "x", "handlers cannot be set on the command line"),
        ("optimizer", "adamm", "no optimizer 'adamm'. Did you mean 'adam"),
        ("precision", "fp8", "no precision 'fp8'. Choose one of auto, fp32"),
        ("schedule", "linear", "no schedule 'linear'"),
        ("accumulate", "3", "accumulate=3 does not divide batch_size=64"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(field, text, message):
    with pytest.raises(UserError) as failure:
        override(tiny(), {field: text})
    assert message in str(failure.value)


def test_a_variant_is_a_derivation():
    assert dataclasses.replace(tiny(), epochs=50).epochs == 50


def build_model(num_classes, width=4):
    return num_classes * width


def test_functions_are_described_by_where_they_are_and_their_arguments():
    assert describe(datasets.digits) == "ignite_vision.datasets:digits"
    assert describe(functools.partial(build_model, width=8)) == f"{__name__}:build_model(width=8)"
    assert describe((RandomHorizontalFlip(),)) == ["RandomHorizontalFlip(p=0.5)"]


def test_every_field_is_described_as_plain_json():
    import json

    assert json.loads(json.dumps(fields_of(tiny()))) == fields_of(tiny())


def test_the_digest_follows_what_decides_the_result_and_nothing_else(tmp_path):
    base = digest(tiny(), "digits")
    assert digest(tiny(epochs=99), "digits") == base
    assert digest(tiny(lr=0.5), "digits") != base
    assert digest(tiny(seed=1), "digits") != base
    assert digest(tiny(), "other") != base
    here, there = tiny(weights="/a/w.pth"), tiny(weights="/b/w.pth")
    assert digest(here, "digits") == digest(there, "digits")


def test_importing_every_recipe_does_nothing_but_define(monkeypatch):
    import torch

    def refuse(*_args, **_kwargs):
        raise AssertionError("a recipe built something while it was imported")

    monkeypatch.setattr(torch.nn.Module, "__init__", refuse)
    from ignite_vision import recipe_files as catalogue

    for name in catalogue.names():
        sys.modules.pop(f"ignite_vision.recipes.{name}", None)
        assert isinstance(load(name).recipe, Recipe)
