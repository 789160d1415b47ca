"""The map: clusters stay clusters, errors are kept, and it is the same each time."""

import numpy as np
import torch

from ignite_vision.data.containers import ArrayImages
from ignite_vision.report.embedding import HEIGHT, MOST, MOST_WRONG, WIDTH, choose, embed
from tests.helpers.reports import pictures, predicted


def mapped(features=None, n=60):
    predictions = predicted(n)
    images = ArrayImages(pictures(n, (8, 8)), predictions.targets, "test")
    given = torch.nn.functional.one_hot(predictions.targets, 3).float() if features is None else features
    noise = torch.randn(given.shape, generator=torch.Generator().manual_seed(0)) * 0.05
    return embed(given + noise, predictions, images, seed=0)


def test_images_of_a_cluster_are_near_each_other():
    found = mapped()
    places, labels = np.array([(s.x, s.y) for s in found.spots]), np.array([s.label for s in found.spots])
    middles = np.stack([places[labels == c].mean(0) for c in range(3)])
    distances = np.linalg.norm(places[:, None] - middles, axis=2)
    assert (distances.argmin(1) == labels).all()
    assert ((places > 0) & (places < (WIDTH, HEIGHT))).all()


def test_an_error_says_what_it_was_taken_for():
    found = mapped()
    texts = [s.text for s in found.spots if not s.right]
    assert texts
    assert all(", taken for " in text for text in texts)


def test_it_is_the_same_each_time():
    assert mapped().spots == mapped().spots


def test_few_images_or_features_that_are_not_finite_have_none():
    assert mapped(n=9) is None
    assert mapped(torch.full((60, 3), torch.nan)) is None


def test_features_that_are_all_alike_are_one_point():
    predictions = predicted(20)
    images = ArrayImages(pictures(20, (8, 8)), predictions.targets, "test")
    found = embed(torch.ones(20, 4), predictions, images, seed=0)
    assert len({(s.x, s.y) for s in found.spots}) == 1


def test_of_many_images_errors_are_chosen_first():
    right = np.arange(5000) % 10 != 0
    chosen = choose(right, seed=0)
    assert len(set(chosen.tolist())) == MOST
    assert (~right[chosen]).sum() == MOST_WRONG
    assert len(choose(np.zeros(5000, dtype=bool), seed=0)) == MOST
