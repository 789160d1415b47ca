"""Values of a recipe's fields: what becomes of them, and what is refused with the fix."""

import pytest
import torch

from ignite_vision.errors import UserError
from ignite_vision.recipe_values import (
    fold_numbers,
    listed,
    merge_table,
    one_of,
    optimizer_class,
    refuse_unusable,
    sides,
    sides_in,
)


def test_an_optimizers_name_may_have_any_case():
    assert optimizer_class("AdamW") is optimizer_class("adamw") is torch.optim.AdamW


def test_an_optimizer_made_from_one_that_cannot_train_here_is_refused():
    class Mine(torch.optim.LBFGS):
        pass

    with pytest.raises(UserError, match="LBFGS cannot be used"):
        refuse_unusable(Mine)
    refuse_unusable(torch.optim.SGD)


def test_a_fold_is_the_kth_of_n():
    assert fold_numbers("2/5") == (2, 5)
    for fold in ("0/5", "6/5", "1/1", "2", "2/5/", 2):
        with pytest.raises(UserError, match="For example fold=2/5"):
            fold_numbers(fold)


def test_names_are_separated_as_in_a_line_of_csv():
    assert listed("classes", "'tench, 'cat") == ("'tench", "'cat")
    assert listed("classes", '"tench, Tinca tinca", dog') == ("tench, Tinca tinca", "dog")


def test_a_choice_that_does_not_exist_names_the_nearest():
    with pytest.raises(UserError, match="no cache 'pixel'. Did you mean 'pixels'"):
        one_of("cache", "pixel", ("pixels", "none"))


def test_an_image_has_one_side_or_height_and_width():
    assert sides("image_size", None) is None
    assert sides("image_size", (64, 64)) == sides_in("image_size", "64") == 64
    assert sides("image_size", [48, 64]) == sides_in("image_size", "48,64") == (48, 64)
    for value in ((1, 2, 3), (48, 0), (48, 1.5), "64", 0, True):
        with pytest.raises(UserError, match="image_size must be"):
            sides("image_size", value)


def test_a_table_of_merged_classes_is_sorted_and_may_number_them():
    assert merge_table({"insect": ["bee", "ant"], 7: (1, 2)}) == {"insect": ("ant", "bee"), "7": ("1", "2")}
    assert merge_table(None) is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, 'Write merge={"cat": ("tabby", "siamese")}'),
        (("a", "b"), "merge must be a dict from new class to classes"),
        ({"x": "ab"}, "merge['x'] must be a tuple of names, not 'ab'"),
        ({"x": ()}, "merge['x'] is empty"),
        ({"x": ("a",), "y": ("a",)}, "merge has 'a' in 'x' and in 'y'. Keep one of them."),
        (
            {"x": ("a",), "y": ("x",)},
            "merge makes 'x', and merges it into 'y'. Give 'y' the classes of 'x' themselves.",
        ),
    ],
)
def test_a_table_that_merges_nothing_or_twice_is_refused(table, message):
    with pytest.raises(UserError) as failure:
        merge_table(table)
    assert message in str(failure.value)
