"""Groups by a rule on paths."""

import pytest

from ignite_vision.data.containers import ImageFiles
from ignite_vision.data.groups import by_path, numbered, refuse_crossing
from ignite_vision.data.splits import Splits
from ignite_vision.errors import UserError

PATHS = ["cats/p1/a.jpg", "cats/p2/b.jpg", "dogs/p1/c.jpg", "dogs/p3/d.jpg"]


@pytest.fixture
def splits(tmp_path):
    return Splits(ImageFiles(tmp_path, PATHS, [0, 0, 1, 1]), classes=("cats", "dogs"))


def test_a_name_is_a_number_and_an_empty_one_stands_alone():
    assert numbered(["a", "", "a", ""], {}).tolist() == [0, 1, 0, 2]


def test_the_parent_folders_name_groups_across_classes(splits):
    assert by_path(splits, "parent").train.groups.tolist() == [0, 1, 0, 2]


def test_a_regular_expression_groups_by_what_it_finds_and_the_rest_stands_alone(splits):
    assert by_path(splits, "p[12]").train.groups.tolist() == [0, 1, 0, 2]
    assert by_path(splits, "^(cats)/").train.groups.tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(("rule", "message"), [("nothing", "matches no image's path"), ("(", "no regular expression")])
def test_a_rule_without_sense_is_refused(splits, rule, message):
    with pytest.raises(UserError, match=message):
        by_path(splits, rule)


def test_a_group_in_two_given_splits_is_refused(splits):
    both = Splits(splits.train.subset([0, 3]), test=splits.train.subset([2, 1]), classes=splits.classes)
    with pytest.raises(UserError, match="the group of 'dogs/p1/c.jpg' is in train and in test"):
        refuse_crossing(by_path(both, "parent"))
    refuse_crossing(both)


def test_a_subset_keeps_groups(splits):
    images = by_path(splits, "parent").train
    assert images.subset([2, 3]).groups.tolist() == [0, 2]
