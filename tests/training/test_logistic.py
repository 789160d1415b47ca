"""Logistic regression on features: the optimum that scikit-learn finds, folded into a plain layer."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ignite_vision.errors import UserError
from ignite_vision.training import logistic
from ignite_vision.training.logistic import Regression, fit_path, moments, stratified_folds, strength_of


def clouds(n=300, d=20, classes=4, seed=0):
    """Overlapping classes, features of very different scales and means: (N,D) float32, (N,) int64."""
    random = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % classes
    centres = torch.randn(classes, d, generator=random)
    scales = 10 ** torch.linspace(-3, 3, d)
    return (centres[targets] + 1.5 * torch.randn(n, d, generator=random) + 3) * scales, targets


def path(features, targets, classes, epochs=10):
    return list(fit_path(features, targets, classes, epochs))


def test_each_strength_is_the_square_root_of_ten_weaker():
    assert strength_of(1) == 1e5
    assert strength_of(3) == pytest.approx(1e4)
    assert strength_of(15) == pytest.approx(1e-2)


def test_it_finds_the_optimum_of_scikit_learn():
    features, targets = clouds()
    rows = torch.from_numpy(StandardScaler().fit_transform(features.double().numpy()))
    deviation = features.double().std(0, correction=0)

    def objective(weight, logits, strength):
        return torch.nn.functional.cross_entropy(logits, targets) + strength / 600 * weight.square().sum()

    for strength, weight, bias in path(features, targets, 4, 12):
        theirs = LogisticRegression(C=1 / strength, max_iter=500).fit(rows.numpy(), targets.numpy())
        best = torch.from_numpy(theirs.coef_)
        expected = objective(best, rows @ best.T + torch.from_numpy(theirs.intercept_), strength)
        found = objective(weight * deviation, features.double() @ weight.T.double() + bias, strength)
        assert found < expected * 1.001 + 1e-4


def test_the_path_starts_at_the_prior_and_ends_near_what_is_not_regularised():
    features, targets = clouds()
    losses = [
        torch.nn.functional.cross_entropy(features @ weight.T + bias, targets).item()
        for _, weight, bias in path(features, targets, 4)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(np.log(4), abs=0.05)


def test_the_same_rows_give_the_same_bits():
    features, targets = clouds()
    for one, two in zip(path(features, targets, 4), path(features, targets, 4), strict=True):
        assert one[1].equal(two[1]) and one[2].equal(two[2])


def test_constant_features_get_no_weight():
    features, targets = clouds()
    features[:, 3] = 0.1
    features[:, 4] = 0.0
    for _, weight, bias in path(features, targets, 4):
        assert not weight[:, 3:5].any()
        assert weight.isfinite().all() and bias.isfinite().all()


def test_half_precision_features_are_standardised_in_float64():
    features, targets = clouds(d=6)
    features = features / 10 ** torch.linspace(-3, 3, 6) + 100
    rounded = features.to(torch.bfloat16)
    mean, scale = moments(rounded)
    assert mean.dtype == scale.dtype == torch.float64
    assert torch.allclose(mean, rounded.double().mean(0)) and torch.allclose(
        1 / scale, rounded.double().std(0, correction=0)
    )
    same = zip(path(rounded, targets, 4), path(rounded.float(), targets, 4), strict=True)
    assert all(one[1].equal(two[1]) for one, two in same)


def test_moments_of_many_rows_are_those_of_parts(monkeypatch):
    features, _ = clouds()
    whole = moments(features)
    monkeypatch.setattr(logistic, "AT_ONCE", 7)
    assert all(torch.allclose(one, two, rtol=1e-12) for one, two in zip(whole, moments(features), strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_one_line(value):
    features, targets = clouds()
    features[5, 2] = features[7, 1] = value
    with pytest.raises(UserError, match="features of 2 of 300 images are not finite. Use --set precision=fp32"):
        path(features, targets, 4)


def test_two_classes_and_a_class_with_one_image_are_fitted():
    features, targets = clouds(classes=2)
    *_, (_, weight, bias) = path(features, targets, 2, 14)
    assert ((features @ weight.T + bias).argmax(1) == targets).float().mean() > 0.9
    targets = torch.zeros(300, dtype=torch.int64)
    targets[0] = 2  # and class 1 has none
    *_, (_, weight, bias) = path(features, targets, 3, 14)
    assert (features @ weight.T + bias).argmax(1).equal(targets)


def test_heads_that_are_solved_together_are_those_that_are_solved_alone():
    features, targets = clouds()
    used = torch.stack([torch.arange(300) < 240, torch.arange(300) % 5 != 0])
    both = Regression(features, targets, 4, used)
    one = Regression(features[used[0]], targets[used[0]], 4)
    heads, alone = both.zeros(), one.zeros()
    for epoch in range(1, 9):
        heads, alone = both.solve(heads, strength_of(epoch)), one.solve(alone, strength_of(epoch))
    together = (both.rows @ heads[0, :, :-1].T + heads[0, :, -1]).log_softmax(1)
    expected = (both.rows @ alone[0, :, :-1].T + alone[0, :, -1]).log_softmax(1)
    assert (together - expected).abs().max() < 0.02
    assert both.logits(heads).shape == (300, 2, 4)


def test_rows_that_a_head_is_not_fitted_to_do_not_change_it():
    features, targets = clouds()
    used = (torch.arange(300) < 240)[None]
    wrong = torch.where(used[0], targets, (targets + 1) % 4)
    heads = [Regression(features, labels, 4, used) for labels in (targets, wrong)]
    solved = [regression.solve(regression.zeros(), 10.0) for regression in heads]
    assert solved[0].equal(solved[1])


def test_folds_have_as_many_of_each_class_as_can_be():
    targets = torch.tensor([0] * 13 + [1] * 52 + [2] * 2 + [3])[torch.randperm(68)]
    folds = stratified_folds(targets)
    for label in range(4):
        counts = torch.bincount(folds[targets == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert torch.bincount(folds).max() - torch.bincount(folds).min() <= 1
