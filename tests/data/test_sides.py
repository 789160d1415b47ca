"""No group is on two sides, folds are disjoint, and near-duplicates come together without changing sizes."""

import numpy as np
import pytest
import torch

from ignite_vision.data import sides
from ignite_vision.errors import UserError

TARGETS = torch.arange(240) % 3
GROUPS = torch.arange(240) // 4  # of four, in all classes


def crossing(side, groups):
    return [g for g in groups.unique().tolist() if len(side[groups == g].unique()) > 1]


def test_by_group_no_group_is_on_two_sides_and_fractions_and_classes_are_kept():
    side = sides.by_group(TARGETS, GROUPS, 0.1, 0.125, seed=0)
    assert not crossing(side, GROUPS)
    sizes = side.bincount().tolist()
    assert 180 <= sizes[0] <= 196 and 20 <= sizes[1] <= 28 and 24 <= sizes[2] <= 36
    assert all(len(TARGETS[side == k].unique()) == 3 for k in range(3))


def test_the_same_seed_cuts_the_same_and_another_differently():
    one = sides.by_group(TARGETS, GROUPS, 0.1, 0.125, seed=0)
    assert one.equal(sides.by_group(TARGETS, GROUPS, 0.1, 0.125, seed=0))
    assert not one.equal(sides.by_group(TARGETS, GROUPS, 0.1, 0.125, seed=1))


def test_a_class_of_one_group_stays_in_train():
    targets = torch.cat([TARGETS, torch.full((4,), 3)])
    groups = torch.cat([GROUPS, torch.full((4,), 99)])
    for seed in range(8):
        assert set(sides.by_group(targets, groups, 0.2, 0.2, seed)[-4:].tolist()) == {0}


def test_too_few_groups_are_refused():
    with pytest.raises(UserError, match="2 groups cannot be divided into 8 parts"):
        sides.by_group(TARGETS, TARGETS // 2, 0.1, 0.125, seed=0)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_folds_are_disjoint_and_together_everything(groups):
    parts = [sides.by_fold(TARGETS, 3, groups, (k, 5), 0.1, seed=0) for k in range(1, 6)]
    assert (sum((part == sides.TEST).long() for part in parts) == 1).all()
    assert all((part == sides.VAL).sum() > 15 for part in parts)
    assert groups is None or not any(crossing(part, groups) for part in parts)


def test_near_duplicates_come_to_train_and_others_of_their_class_go_instead():
    side = sides.by_class(TARGETS, 3, 0.1, 0.125, seed=0)
    alike = torch.arange(240)
    alike[3:120:3] = alike[0:117:3]  # chains of nothing: pairs of class 0
    before = crossing(side, alike)
    after = sides.together(side, TARGETS, alike, seed=0)
    assert before and not crossing(after, alike)
    assert after.bincount().tolist() == side.bincount().tolist()
    assert after[TARGETS > 0].equal(side[TARGETS > 0])


def test_without_duplicates_nothing_moves():
    side = sides.by_class(TARGETS, 3, 0.1, 0.125, seed=0)
    assert sides.together(side, TARGETS, torch.arange(240), seed=0).equal(side)


def test_where_every_image_has_a_duplicate_whole_groups_are_cut():
    side = sides.by_class(TARGETS, 3, 0.1, 0.125, seed=0)
    after = sides.with_duplicates(side, TARGETS, GROUPS, (0.1, 0.125), seed=0)
    assert not crossing(after, GROUPS)
    assert (after.bincount() > 15).all()


@pytest.mark.parametrize(("val", "test"), [(0.1, 0.3), (0.4, 0.22), (0.15, 0.4), (0.2, 0.7), (0.1, 0.125)])
def test_by_group_any_fraction_is_kept(val, test):
    targets, groups = torch.arange(4000) % 3, torch.arange(4000) // 4
    sizes = sides.by_group(targets, groups, val, test, seed=0).bincount(minlength=3) / 4000
    assert sizes[sides.TEST].item() == pytest.approx(test, abs=0.02)
    assert sizes[sides.VAL].item() == pytest.approx(val, abs=0.02)


def test_of_few_groups_the_nearest_fraction_is_taken():
    assert sides.as_folds(0.3, 1000) == (3, 10)
    assert sides.as_folds(0.3, 4) == (1, 3)
    assert sides.as_folds(0.9, 1000) == (9, 10)
    assert sides.as_folds(0.05, 3)[1] > 3  # which is refused


def test_a_chain_of_pairs_connects_and_nothing_else_does():
    numbers = sides.connected(np.array([0, 4]), np.array([3, 3]), 6)
    assert numbers[0] == numbers[3] == numbers[4]
    assert len(set(numbers.tolist())) == 4
    assert numbers.dtype == np.int64
    assert len(set(sides.connected(np.zeros(0, int), np.zeros(0, int), 3).tolist())) == 3
