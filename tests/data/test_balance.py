"""Unequal classes: weights that even them out, and an order that draws them equally often."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from ignite_vision.data.balance import balanced_order, class_weights
from ignite_vision.errors import UserError

PETS = ("ant", "bee", "cow")
TARGETS = torch.tensor([0] * 70 + [1] * 25 + [2] * 6)


def test_balanced_weights_are_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=TARGETS.numpy())
    found = class_weights("balanced", TARGETS, PETS)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(expected.tolist())
    assert float(found[TARGETS].mean()) == pytest.approx(1)


def test_a_class_without_training_images_leaves_the_others_balanced():
    found = class_weights("balanced", torch.tensor([0, 0, 2]), PETS)
    assert found[[0, 2]].tolist() == [0.75, 1.5]
    assert found.isfinite().all()


def test_weights_by_name_are_one_for_what_is_not_named():
    assert class_weights({"cow": 4, "ant": 0.5}, TARGETS, PETS).tolist() == [0.5, 1, 4]
    assert class_weights(None, TARGETS, PETS) is None


def test_a_weight_of_no_class_is_refused():
    with pytest.raises(
        UserError, match="class_weights names 'crow', which is no class of the data. Did you mean 'cow'"
    ):
        class_weights({"crow": 2.0}, TARGETS, PETS)


def test_an_epoch_is_as_long_as_ever_and_draws_each_class_equally_often():
    order = balanced_order(TARGETS, seed=0, epoch=0)
    assert len(order) == len(set(order.tolist())) == 101
    assert sorted(TARGETS[order % 101].bincount().tolist()) == [33, 34, 34]


def test_an_image_is_drawn_again_only_after_all_of_its_class():
    order = balanced_order(TARGETS, seed=0, epoch=0)
    times = np.bincount(order % 101, minlength=101)
    for label in range(3):
        of_class = times[TARGETS.numpy() == label]
        assert of_class.max() - of_class.min() <= 1
    for image in np.unique(order % 101):
        assert sorted(order[order % 101 == image] // 101) == list(range(times[image]))


def test_every_image_comes_up_within_some_epochs_and_the_order_follows_from_seed_and_epoch():
    orders = [balanced_order(TARGETS, 0, epoch) for epoch in range(12)]
    assert len(np.unique(np.concatenate(orders) % 101)) == 101
    assert (orders[3] == balanced_order(TARGETS, 0, 3)).all()
    assert (orders[3] != orders[4]).any()
    assert (orders[3] != balanced_order(TARGETS, 1, 3)).any()


def test_fewer_images_than_classes_and_classes_without_images_are_no_trouble():
    assert sorted(balanced_order(torch.tensor([4, 2]), 0, 0) % 2) == [0, 1]
    many = torch.cat([torch.arange(5), torch.full((2,), 1)])
    assert len(balanced_order(many, 0, 0)) == 7
