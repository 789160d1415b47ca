"""`list` and `show`."""

import json
import re

import pytest

from tests.helpers.command_line import assert_one_error_line


def test_list_names_every_recipe_with_its_title(ignite_vision):
    code, out, _ = ignite_vision("list")
    assert code == 0
    assert re.search(r"^digits\s+Handwritten digits with a small CNN", out, re.M)
    assert len(out.splitlines()) == 7


def test_lists_are_json_where_that_is_asked_for(ignite_vision):
    _, out, _ = ignite_vision("list", "--json")
    recipes = json.loads(out)
    assert recipes["format"] == 1
    assert recipes["recipes"][3]["name"] == "digits"
    assert recipes["recipes"][3]["title"].startswith("Handwritten digits")
    _, out, _ = ignite_vision("list", "--models", "mobilenet_v2", "--json")
    (model,) = json.loads(out)["models"]
    assert model == {
        "name": "mobilenet_v2",
        "parameters": 3_504_872,
        "pixels": 224,
        "weights": True,
        "license": None,
    }


def test_show_prints_the_docstring_the_fields_and_the_file(ignite_vision):
    _, out, _ = ignite_vision("show", "cifar10")
    assert "three convolutions" in out
    assert re.search(r"^lr\s+0.001$", out, re.M)
    assert re.search(r"^score\s+accuracy$", out, re.M)
    assert re.search(r"^data\s+ignite_vision.datasets:cifar10$", out, re.M)
    assert "cifar10.py" in out


def test_show_of_a_recipe_file_describes_its_functions(ignite_vision, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from torch import nn\nfrom ignite_vision import Recipe, datasets\n")
    path.write_text(path.read_text() + "recipe = Recipe(data=datasets.digits, model=nn.LazyLinear, epochs=1)\n")
    code, out, err = ignite_vision("show", path)
    assert code == 0, err
    assert out.startswith("(no docstring)\n")
    assert re.search(r"^model\s+torch.nn.modules.linear:LazyLinear$", out, re.M)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("digit", ("no recipe 'digit'", "Did you mean 'digits'?")),
        ("nothing-like-it", ("no recipe 'nothing-like-it'", "Choose one of caltech256, cifar10")),
        ("gone.py", ("no such recipe file (gone.py)", "Check the path.")),
        ("./gone", ("no such recipe file or folder (./gone)", "Check the path.")),
    ],
)
def test_a_recipe_that_is_not_there_is_one_line(ignite_vision, spec, parts):
    assert_one_error_line(ignite_vision("show", spec), *parts)


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("recipe = 1/0", ("the recipe does not import: ZeroDivisionError", "in line 1", "--debug")),
        ("recipe = (", ("the recipe does not import: SyntaxError", "in line 1")),
        ("x = 1", ("no recipe in this file", "It needs a line: recipe = Recipe(")),
        ("import nothing_like_it", ("ModuleNotFoundError", "nothing_like_it", "in line 1")),
    ],
)
def test_a_broken_recipe_file_is_one_line_that_names_its_line(ignite_vision, tmp_path, source, parts):
    path = tmp_path / f"broken{abs(hash(source))}.py"
    path.write_text(source)
    assert_one_error_line(ignite_vision("show", path), *parts, str(path))


def test_list_shows_models_by_a_pattern(ignite_vision):
    code, out, _ = ignite_vision("list", "--models", "*_cnn")
    assert code == 0
    assert re.search(r"^digits_cnn +0\.\d +8  no weights$", out, re.M)
    _, out, _ = ignite_vision("list", "--models", "vit_h_14")
    assert re.search(r"^vit_h_14 +633\.5 +518  https://github.com/facebookresearch/SWAG", out, re.M)
    _, out, _ = ignite_vision("list", "--models", "timm:tf_efficientnet_lite2")
    assert re.search(r"^timm:tf_efficientnet_lite2 +6\.1 +260  apache-2.0$", out, re.M)


def test_a_pattern_without_a_model_is_one_line(ignite_vision):
    assert_one_error_line(ignite_vision("list", "--models", "no_such_*"), "no model like 'no_such_*'", "vit_*")


def test_list_takes_a_pattern_for_models_alone_and_show_takes_one_argument(ignite_vision):
    assert_one_error_line(ignite_vision("list", "digits"), "'digits' came without --models")
    assert_one_error_line(ignite_vision("show"), "missing argument 'RECIPE'", "See `ignite-vision show --help`")
