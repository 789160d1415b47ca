"""Recipes as values: what a field takes, what it refuses, and what `--set` makes of a text."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from torch import nn

from ignite_vision import Recipe, datasets
from ignite_vision.augment import RandomCrop, RandomHorizontalFlip
from ignite_vision.errors import UserError
from ignite_vision.recipe import override


def tiny(**changes):
    return Recipe(**{"data": datasets.digits, "model": "digits_cnn", "epochs": 1, **changes})


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
        ("epochs", "1e3", "epochs must be a whole number, not '1e3'"),
        ("epochs", "-1", "epochs must be a whole number of at least 1, not -1"),
        ("epochs", "none", "epochs must be a whole number, not 'none'"),
        ("epochs", "", "epochs must be a whole number, not ''"),
        ("patience", "0", "patience must be a whole number of at least 1"),
        ("seed", "1.5", "seed must be a whole number, not '1.5'"),
        ("lr", "-1", "lr must be above 0"),
        ("lr", "0", "lr must be above 0"),
        ("lr", "nan", "lr must be a finite number, not nan"),
        ("lr", "inf", "lr must be a finite number, not inf"),
        ("lr", "none", "lr must be a number, not 'none'"),
        ("val_fraction", "nan", "val_fraction must be a finite number"),
        ("val_fraction", "-0.1", "val_fraction must be at least 0"),
        ("sync_bn", "yes", "sync_bn must be true or false, not 'yes'"),
        ("sync_bn", "none", "sync_bn must be true or false, not 'none'"),
        ("trainable", "", "trainable is empty. Name one, or leave trainable out."),
        ("weights", "", "weights is empty"),
        ("model", "", "model is empty"),
        ("optimizer", "lbfgs", "LBFGS cannot be used: it calls a closure"),
        ("optimizer", "SparseAdam", "SparseAdam cannot be used: it needs sparse gradients"),
        ("score", "macro-f1", "no score 'macro-f1'. Did you mean 'macro_f1'? Choose one of accuracy,"),
        ("accumulate", "128", "accumulate=128 does not divide batch_size=64"),
        ("val_fraction", "1.5", "val_fraction must be at least 0 and below 1"),
        ("handlers", "x", "handlers cannot be set on the command line"),
        (
            "image_size",
            "192x256",
            "not '192x256'. For example --set image_size=224, or --set image_size=192,256: height,",
        ),
        ("image_size", "1,2,3", "image_size must be one or two whole numbers"),
        ("image_size", "0", "image_size must be a whole number of at least 1, not 0"),
        ("image_size", "9,-1", "image_size must be a whole number of at least 1, not -1"),
        ("fit", "stretch", "no fit 'stretch'. Choose one of crop, pad, squash"),
        ("on_bad_image", "skipp", "no on_bad_image 'skipp'. Did you mean 'skip'?"),
        ("optimizer", "adamm", "no optimizer 'adamm'. Did you mean 'adam"),
        ("precision", "fp8", "no precision 'fp8'. Did you mean 'fp32'? Choose one of auto, fp32"),
        ("schedule", "linear", "no schedule 'linear'"),
        ("classes", "", "classes is empty. Name some, or leave classes out."),
        ("exclude", 'cat,"dog', "exclude is no list of names: 'cat,\"dog'. For example --exclude cat,dog."),
        ("class_weights", "balance", "no class_weights 'balance'. Did you mean 'balanced'?"),
        ("sampler", "weighted", "no sampler 'weighted'. Choose one of balanced."),
        ("accumulate", "3", "accumulate=3 does not divide batch_size=64"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(field, text, message):
    with pytest.raises(UserError) as failure:
        override(tiny(), {field: text})
    assert message in str(failure.value)


def test_a_variant_is_a_derivation():
    assert dataclasses.replace(tiny(), epochs=50).epochs == 50


def test_set_reads_true_false_and_none():
    recipe = override(tiny(), {"sync_bn": "True", "views": "None", "weights": "none", "seed": "-3"})
    assert (recipe.sync_bn, recipe.views, recipe.weights, recipe.seed) == (True, None, None, -3)


class Anything:
    def __call__(self, *arguments):
        return arguments


def test_an_instance_that_can_be_called_serves_as_a_function():
    thing = Anything()
    recipe = tiny(
        data=thing, model=thing, augment=(thing,), loss=thing, optimizer=thing, schedule=thing, handlers=thing
    )
    assert all(
        getattr(recipe, name) is thing for name in ("data", "model", "loss", "optimizer", "schedule", "handlers")
    )


def test_classes_are_a_set_of_names_that_set_reads_as_a_line_of_csv():
    recipe = override(tiny(), {"classes": 'dog, "tench, Tinca", cat,dog', "exclude": "7"})
    assert recipe.classes == ("cat", "dog", "tench, Tinca")
    assert recipe.exclude == ("7",)
    assert tiny(classes=["b", "a"]) == tiny(classes={"a", "b"})
    assert tiny(classes=(2, 1)).classes == ("1", "2")


@pytest.mark.parametrize("lr", [np.float32(0.25), torch.tensor(0.25), np.array(0.25), 0.25])
def test_any_kind_of_number_is_a_learning_rate(lr):
    assert type(tiny(lr=lr).lr) is float
    assert tiny(lr=lr) == tiny(lr=0.25)


def test_numpys_integers_are_whole_numbers():
    recipe = tiny(epochs=np.int64(3), seed=np.int32(7))
    assert type(recipe.epochs) is int and (recipe.epochs, recipe.seed) == (3, 7)


def test_a_list_of_operations_becomes_a_tuple():
    assert tiny(augment=[RandomCrop(), RandomHorizontalFlip()]).augment == (RandomCrop(), RandomHorizontalFlip())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": True}, "epochs must be a whole number of at least 1, not True"),
        ({"classes": "cat"}, "classes must be a tuple of names, not 'cat'"),
        ({"exclude": ()}, "exclude is empty. Name some, or leave exclude out."),
        ({"class_weights": [1, 2]}, "class_weights must be a dict from class to weight, not [1, 2]"),
        ({"class_weights": {}}, "class_weights must be a dict from class to weight"),
        ({"class_weights": {"cat": 0}}, "the weight of 'cat' must be above 0, not 0. Use exclude"),
        ({"class_weights": {"cat": math.nan}}, "the weight of 'cat' must be a finite number"),
        ({"class_weights": "balanced", "loss": nn.CrossEntropyLoss()}, "the recipe has its own loss. Leave class_w"),
        ({"class_weights": "balanced", "sampler": "balanced"}, "class_weights and sampler would balance twice"),
        ({"epochs": 2.0}, "epochs must be a whole number of at least 1, not 2.0"),
        ({"seed": None}, "seed must be a whole number, not None"),
        ({"lr": "0.1"}, "lr must be a finite number, not '0.1'"),
        ({"lr": True}, "lr must be a finite number, not True"),
        ({"lr": math.nan}, "lr must be a finite number, not nan"),
        ({"lr": torch.zeros(2)}, "lr must be a finite number"),
        ({"sync_bn": 1}, "sync_bn must be True or False, not 1"),
        ({"trainable": None}, "trainable must be a name, not None"),
        ({"weights": 3}, "weights must be a name, not 3"),
        ({"data": "cifar10"}, "data must be a function (folder) -> Splits, not str"),
        ({"model": None}, "model must be a name or a function (num_classes) -> nn.Module, not NoneType"),
        ({"model": nn.Flatten()}, "model is a network. Give a function num_classes -> nn.Module"),
        ({"handlers": "x"}, "handlers must be a function (run), not str"),
        ({"loss": nn.CrossEntropyLoss}, "loss has the class CrossEntropyLoss where it needs an instance. Write"),
        ({"augment": (RandomCrop,)}, "augment has the class RandomCrop where it needs an instance"),
        ({"augment": RandomCrop()}, "augment must be a tuple of operations. Write augment=(operation,)."),
        ({"augment": ("flip",)}, "augment holds 'flip', which cannot be called"),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS cannot be used: it calls a closure"),
        ({"score": "f1"}, "no score 'f1'."),
    ],
)
def test_a_field_of_the_wrong_kind_says_what_it_takes(changes, message):
    with pytest.raises(UserError) as failure:
        tiny(**changes)
    assert message in str(failure.value)
    assert "\n" not in str(failure.value)


def test_best_is_the_highest_accuracy_unless_the_recipe_says_otherwise():
    assert tiny().score == "accuracy"
    assert override(tiny(), {"score": "loss"}).score == "loss"


def test_a_partial_is_a_function():
    assert tiny(optimizer=functools.partial(torch.optim.SGD, momentum=0.9)).optimizer.func is torch.optim.SGD


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "head='logistic' trains nothing but the head, and trainable is 'all'. Use trainable='head'"),
        ({"trainable": "head", "lr": 0.1}, "lr has no effect on a head that is trained by logistic regression"),
        ({"trainable": "head", "optimizer": "sgd"}, "optimizer has no effect"),
        ({"trainable": "head", "schedule": "cosine"}, "schedule has no effect"),
        ({"trainable": "head", "accumulate": 2}, "accumulate has no effect"),
        ({"trainable": "head", "views": 2}, "views has no effect"),
        ({"trainable": "head", "augment": (RandomCrop(),)}, "augment has no effect"),
        ({"trainable": "head", "class_weights": "balanced"}, "class_weights has no effect"),
        ({"trainable": "head", "sampler": "balanced"}, "sampler has no effect"),
        ({"trainable": "head", "loss": nn.CrossEntropyLoss()}, "loss has no effect"),
        ({"trainable": "head", "cache": "none"}, "head='logistic' needs cached features, and cache is 'none'"),
    ],
)
def test_logistic_regression_refuses_what_it_would_not_heed(changes, message):
    with pytest.raises(UserError) as failure:
        tiny(head="logistic", **changes)
    assert message in str(failure.value)


def test_a_misspelt_head_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="no head 'logistics'. Did you mean 'logistic'"):
        tiny(head="logistics")


def test_logistic_regression_that_is_set_leaves_the_recipes_own_optimizer_out():
    made = override(tiny(head="auto", trainable="head", lr=0.1, schedule="cosine"), {"head": "logistic"})
    assert (made.head, made.schedule) == ("logistic", None)
    with pytest.raises(UserError, match="lr has no effect"):
        override(tiny(trainable="head"), {"head": "logistic", "lr": "0.1"})


def test_logistic_regression_can_be_set():
    assert override(tiny(), {"head": "logistic", "trainable": "head"}).head == "logistic"


def test_whoever_sets_the_optimizer_of_a_recipe_that_leaves_it_open_has_it():
    either = tiny(head="auto", trainable="head", lr=0.01, schedule="cosine")
    assert override(either, {"seed": "1", "model": "resnet18"}).head == "auto"
    assert override(either, {"lr": "0.1"}).head == "optimizer"
    assert override(either, {"lr": "0.1", "head": "auto"}).head == "auto"
