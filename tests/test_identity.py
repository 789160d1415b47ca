"""What a recipe is described as, and which recipes are the same run."""

import collections
import dataclasses
import enum
import functools
import json
import os
import random
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ignite_vision import Recipe, datasets
from ignite_vision.augment import RandomCrop, RandomHorizontalFlip
from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.errors import UserError
from ignite_vision.identity import describe, digest, fields_of, identity
from ignite_vision.recipe_files import load, names


def tiny(**changes):
    return Recipe(**{"data": datasets.digits, "model": "digits_cnn", "epochs": 1, **changes})


def build_model(num_classes, width=4):
    return nn.Linear(num_classes, width)


def sgd(params, lr):
    return torch.optim.SGD(params, lr, momentum=0.9)


class Noise:
    """A plain class, as the documentation invites to write."""

    draws = 1

    def __init__(self, amount):
        self.amount = amount

    def __call__(self, images, u, size):
        return images + (u * self.amount).to(torch.uint8)


@dataclasses.dataclass(frozen=True)
class Loss:
    function: object
    weight: float = 1.0

    def __call__(self, logits, targets):
        return self.weight * self.function(logits, targets)


class Colour(enum.Enum):
    RED = 1


def smoothed(amount):
    return lambda logits, targets: nn.functional.cross_entropy(logits, targets, label_smoothing=amount)


def test_plain_values_are_described_as_they_are():
    assert describe([1, 0.5, "a", None, True, {"b": (2,)}]) == [1, 0.5, "a", None, True, {"b": [2]}]
    assert describe(Path("a/b")) == "a/b"
    assert describe(np.float64(0.25)) == 0.25
    assert describe(float("nan")) == "nan"


def test_our_own_are_described_by_where_users_find_them():
    assert describe(datasets.digits) == "ignite_vision.datasets:digits"
    assert describe((RandomHorizontalFlip(0.3), RandomCrop())) == [
        "ignite_vision.augment:RandomHorizontalFlip(p=0.3)",
        "ignite_vision.augment:RandomCrop()",
    ]
    half = Preprocessing(channels=1, resize=8, crop=8, mean=(0.5,), std=(0.5,))
    assert describe(half) == "ignite_vision:Preprocessing(channels=1, crop=8, mean=(0.5), resize=8, std=(0.5))"


def test_a_function_of_ours_may_move_between_private_modules(monkeypatch):
    before = describe(datasets.cifar10), describe(Preprocessing)
    elsewhere = types.ModuleType("ignite_vision.data.elsewhere")
    monkeypatch.setitem(sys.modules, elsewhere.__name__, elsewhere)
    for moved in (datasets.cifar10, Preprocessing):
        setattr(elsewhere, moved.__name__, moved)
        monkeypatch.setattr(moved, "__module__", elsewhere.__name__)
    assert (describe(datasets.cifar10), describe(Preprocessing)) == before


def test_installed_functions_and_classes_are_described_by_name():
    assert describe(nn.functional.cross_entropy) == "torch.nn.functional:cross_entropy"
    assert describe(torch.optim.SGD) == "torch.optim.sgd:SGD"
    assert describe(len) == "builtins:len"


def test_custom_functions_and_classes_are_described_by_name_and_source():
    assert describe(sgd).startswith(f"{__name__}:sgd#")
    assert describe(Noise(2)) == f"{describe(Noise)}(amount=2)"
    assert describe(Colour.RED) == f"{describe(Colour)}.RED"


def test_defaults_and_captured_values_are_described():
    assert describe(build_model).endswith("(width=4)")
    assert describe(smoothed(0.1)).endswith("(amount=0.1)")


def test_a_partial_is_described_by_its_function_and_arguments():
    loss = functools.partial(nn.functional.cross_entropy, label_smoothing=0.1)
    assert describe(loss) == "functools:partial(torch.nn.functional:cross_entropy, label_smoothing=0.1)"
    assert describe(Loss(len)) == f"{describe(Loss)}(function=builtins:len)"
    assert describe(functools.partial(build_model, Loss(sgd))).count(describe(sgd)) == 1


def edited(tmp_path, monkeypatch, before, after):
    """Descriptions of `thing` in a module before and after it was edited."""
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "edited_recipe.py"
    found = []
    for text in (before, after):
        path.write_text(text)
        sys.modules.pop("edited_recipe", None)
        import edited_recipe

        found.append(describe(edited_recipe.thing))
    del sys.modules["edited_recipe"]
    return found


FUNCTION = '''
from torch import nn
SCALES = [1, 2]
blur = nn.AvgPool2d(3)
def helper(x):
    return x * SCALES[0]
def thing(images, size):
    """Documented."""
    return blur(helper(images))
'''


@pytest.mark.parametrize(
    ("old", "new"), [("blur(helper(", "(helper("), ("x * S", "x / S"), ("[1, 2]", "[3, 2]"), ("2d(3)", "2d(5)")]
)
def test_an_edited_function_helper_or_constant_changes_the_description(tmp_path, monkeypatch, old, new):
    before, after = edited(tmp_path, monkeypatch, FUNCTION, FUNCTION.replace(old, new))
    assert before != after


def test_an_edited_comment_docstring_or_layout_changes_nothing(tmp_path, monkeypatch):
    other = (
        FUNCTION.replace("Documented", "Other words").replace("return blur", "# why\n    return  blur") + "\nx = 5\n"
    )
    before, after = edited(tmp_path, monkeypatch, "# a comment\n" + FUNCTION, other)
    assert before == after


CLASS = """
from torch import nn
def helper(x):
    return 2 * x
class Base:
    def go(self, x):
        return helper(x)
class Thing(Base):
    scale = 1
    def __call__(self, x):
        return self.go(x)
thing = Thing()
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [("2 * x", "3 * x"), ("scale = 1", "scale = 2"), ("go(x)\n", "go(x + 1)\n"), ("return h", "return -h")],
)
def test_an_edited_class_base_or_helper_changes_the_description(tmp_path, monkeypatch, old, new):
    before, after = edited(tmp_path, monkeypatch, CLASS, CLASS.replace(old, new))
    assert before != after


def local_class(scale):
    class Op:
        def __call__(self, images, size):
            return images * scale

    return Op()


def hooked(hook):
    network = nn.Linear(2, 2, bias=False)
    nn.init.ones_(network.weight)
    network.register_forward_hook(hook)
    return network


DIFFERENT = {
    "label smoothing": (nn.CrossEntropyLoss(label_smoothing=0.1), nn.CrossEntropyLoss(label_smoothing=0.3)),
    "class weights": (nn.CrossEntropyLoss(torch.tensor([1.0, 2.0])), nn.CrossEntropyLoss(torch.tensor([1.0, 3.0]))),
    "lambdas in one line": (lambda x: x + 1, lambda x: x - 1),
    "captured values": (smoothed(0.1), smoothed(0.2)),
    "a captured value of a local class": (local_class(1), local_class(2)),
    "attributes": (Noise(1), Noise(2)),
    "arrays": (Noise(np.arange(3)), Noise(np.arange(3)[::-1])),
    "dtypes": (Noise(torch.zeros(2)), Noise(torch.zeros(2, dtype=torch.int32))),
    "a string and a number": (Noise(1), Noise("1")),
    "arguments of a partial": (functools.partial(sgd, lr=1), functools.partial(sgd, lr=2)),
    "layers": (nn.Sequential(nn.ReLU(), nn.Tanh()), nn.Sequential(nn.Tanh(), nn.ReLU())),
    "mode": (nn.Dropout().eval(), nn.Dropout()),
    "hooks": (hooked(lambda m, i, o: o), hooked(lambda m, i, o: -o)),
    "long lists": (Noise([0] * 1000 + [1]), Noise([0] * 1000 + [2])),
    "methods": (Noise(1).__call__, Noise(2).__call__),
    "items": (collections.OrderedDict(a=1), collections.OrderedDict(a=2)),
    "seeds": (random.Random(1), random.Random(2)),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_decides_the_result_is_never_hidden(name):
    one, two = DIFFERENT[name]
    assert describe(one) != describe(two)
    json.dumps([describe(one), describe(two)], allow_nan=False)


def test_attributes_of_a_function_are_described():
    def noise(images, u, size):
        return images

    before = describe(noise)
    noise.draws = 2
    assert describe(noise) != before


def test_an_object_that_holds_itself_is_described():
    noise = Noise(1)
    noise.itself = [noise]
    assert "itself=[<itself, 2 levels up>]" in describe(noise)
    values = [1]
    values.append(values)
    assert describe(values) == "[1, <itself, 1 levels up>]"


def test_sets_and_dicts_have_one_order():
    assert describe(Noise({"b", "a", "c"})) == describe(Noise({"c", "a", "b"}))
    assert describe(Noise({1: "x", 2: "y"})) == describe(Noise({2: "y", 1: "x"}))


@pytest.mark.parametrize(
    "thing",
    [lambda: threading.Lock(), lambda: (i for i in ()), lambda: sys.__stdout__],
    ids=["lock", "gen", "file"],
)
def test_what_cannot_be_described_is_refused_with_the_fix(thing):
    with pytest.raises(UserError) as failure:
        fields_of(tiny(loss=Loss(thing())))
    assert str(failure.value).startswith("loss.function cannot be described: an object of ")
    assert "Keep what it is made from" in str(failure.value)


def descriptions():
    values = [thing for pair in DIFFERENT.values() for thing in pair]
    values += [Noise({"a", "b", len}), functools.lru_cache(sgd), torch.no_grad()(sgd), Colour.RED, torch.relu]
    values += [nn.functional.max_pool2d, collections.Counter("aab"), torch.Generator(), torch.float32, np.exp]
    return [describe(value) for value in values]


def test_another_process_gives_the_same_descriptions_and_none_has_an_address():
    program = "import json; from tests.test_identity import descriptions; print(json.dumps(descriptions()))"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}  # sets have another order
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == descriptions()
    assert "0x" not in done.stdout


@pytest.mark.slow
def test_what_torch_compiles_is_described_by_what_it_compiles():
    assert describe(torch.compile(sgd)) == f"torch:compile({describe(sgd)})"
    network = hooked(sgd)
    assert describe(torch.compile(network)).startswith("torch:compile(torch.nn.modules.linear:Linear(")


def test_every_field_is_described_as_plain_json():
    recipe = tiny(augment=(Noise(2),), optimizer=functools.partial(torch.optim.SGD, momentum=0.9))
    assert json.loads(json.dumps(fields_of(recipe))) == fields_of(recipe)
    assert list(fields_of(recipe)) == [field.name for field in dataclasses.fields(Recipe)]


def test_a_path_beside_the_recipe_file_is_not_in_a_description(tmp_path, monkeypatch):
    text = "from pathlib import Path\nHERE = Path(__file__).parent\nNAMES = str(HERE / 'names')\n"
    text += "def thing(folder):\n    return HERE, NAMES, __file__\n"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    here = edited(tmp_path / "a", monkeypatch, text, text)
    assert edited(tmp_path / "b", monkeypatch, text, text) == here


def test_the_identity_is_what_differs_from_the_defaults():
    assert identity(tiny(lr=0.5, seed=0, epochs=9)) == {
        "data": "ignite_vision.datasets:digits",
        "model": "digits_cnn",
        "lr": 0.5,
    }


def test_a_new_field_with_a_default_changes_no_digest():
    newer = dataclasses.make_dataclass("Recipe", [("novelty", int, 7)], bases=(Recipe,), frozen=True, kw_only=True)
    recipe = newer(data=datasets.digits, model="digits_cnn", epochs=1)
    assert "novelty" in fields_of(recipe)
    assert digest(recipe, "digits") == digest(tiny(), "digits")


def test_the_digest_follows_what_decides_the_result_and_nothing_else():
    base = digest(tiny(), "digits")
    assert digest(tiny(epochs=99), "digits") == base
    assert digest(tiny(lr=np.float64(0.001)), "digits") == base
    others = [tiny(lr=0.5), tiny(seed=1), tiny(augment=(Noise(2),)), tiny(loss=smoothed(0.1)), tiny(loss=smoothed(0.2))]
    assert len({base, digest(tiny(), "other"), *(digest(recipe, "digits") for recipe in others)}) == len(others) + 2


def test_weights_count_by_their_content_where_it_is_known_and_never_by_their_folder():
    here, there = tiny(weights="/a/w.pth"), tiny(weights=Path("/b/w.pth"))
    assert digest(here, "digits") == digest(there, "digits")
    assert digest(here, "digits", "12ab") == digest(tiny(weights="other.pth"), "digits", "12ab")
    assert digest(here, "digits", "12ab") != digest(here, "digits", "34cd")
    assert digest(tiny(), "digits", "12ab") == digest(tiny(), "digits")


def test_a_clock_that_handlers_read_is_not_part_of_them(tmp_path, monkeypatch):
    text = "import time\nSTART = time.perf_counter()\ndef thing(run):\n    return time.perf_counter() - START\n"
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "recipe_with_a_clock.py").write_text(text)
    import recipe_with_a_clock

    before = fields_of(tiny(handlers=recipe_with_a_clock.thing))
    monkeypatch.setattr(recipe_with_a_clock, "START", 7)
    assert fields_of(tiny(handlers=recipe_with_a_clock.thing)) == before


ODD = {
    "function": tiny(optimizer=sgd),
    "partial": tiny(optimizer=functools.partial(torch.optim.SGD, momentum=0.9)),
    "instance": tiny(augment=(Noise(3), RandomCrop(padding=4))),
    "dataclass": tiny(loss=Loss(nn.functional.cross_entropy, weight=0.5)),
    "captured": tiny(loss=smoothed(0.1)),
    "module": tiny(loss=nn.CrossEntropyLoss(torch.tensor([1.0, 2.0]), label_smoothing=0.1)),
    "weights": tiny(model="resnet18", weights="DEFAULT", trainable="head", image_size=64, patience=3),
}
FROZEN = {
    "caltech256": "6b1f35",
    "cifar10": "9f997e",
    "cifar10_resnet18": "88c8a3",
    "digits": "e14c4d",
    "fashion_mnist": "2c925c",
    "folder": "50fd26",
    "stanford_dogs": "e4c075",
    "function": "18ec98",
    "partial": "6451b8",
    "instance": "d43529",
    "dataclass": "22ee81",
    "captured": "f8c290",
    "module": "354fb5",
    "weights": "24dfaa",
}


def test_the_hashes_of_recipes_are_frozen():
    """A change here makes every existing run directory of such a recipe a stranger to the command that made it."""
    found = {name: digest(load(name).recipe, name) for name in names()}
    found |= {name: digest(recipe, "digits") for name, recipe in ODD.items()}
    assert found == FROZEN
