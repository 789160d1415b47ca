"""Which side of a split each image is on, train, val or test: by class, by group, with near-duplicates together.

Each is a pure function of targets, groups and seed.
"""

from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import torch

from ignite_vision.errors import UserError
from ignite_vision.randomness import Purpose, generator, key

TRAIN, VAL, TEST = 0, 1, 2
MOST_FOLDS = 20  # that a fraction is made of
KEPT = 0.9  # of val and of test: where more is lost to near-duplicates, everything is cut by group
Fold = tuple[int, int]
ALL_CLASSES = -1  # where `by_class` has a class's index


def by_class(targets: torch.Tensor, classes: int, val: float, test: float, seed: int) -> torch.Tensor:
    """(N,) class indices -> (N,) sides, stratified. val, test: fractions.

    A class of three images or more gives at least one to each side that is cut; at least one stays in train.
    """
    side = torch.empty_like(targets)
    sizes = torch.bincount(targets, minlength=classes).tolist()
    for label, members in enumerate(torch.argsort(targets, stable=True).split(sizes)):
        order = torch.randperm(len(members), generator=generator(seed, Purpose.SPLIT, label))
        for number, share in enumerate(members[order].split(_shares(len(members), val, test))):
            side[share] = number
    return side


def _shares(n: int, val: float, test: float) -> list[int]:
    """How many of a class's n images are for train, val and test; at least one stays in train."""
    least = 1 if n >= 3 else 0
    n_val = max(round(n * val), least) if val else 0
    n_test = max(round(n * test), least) if test else 0
    n_test = max(0, min(n_test, n - 1 - (least if val else 0)))
    n_val = max(0, min(n_val, n - 1 - n_test))
    return [n - n_val - n_test, n_val, n_test]


def by_group(targets: torch.Tensor, groups: torch.Tensor, val: float, test: float, seed: int) -> torch.Tensor:
    """(N,) class indices, (N,) groups -> (N,) sides: no group is on two, and as stratified as the groups allow.

    Fractions are kept to a twentieth, and to about a group. A class that would lie outside train as a whole stays in
    train. UserError if there are too few groups.
    """
    side = torch.zeros_like(targets)
    for number, fraction in ((TEST, test), (VAL, val / (1 - test))):
        if fraction:
            rest = torch.nonzero(side == TRAIN)[:, 0]
            some, of = as_folds(fraction, len(groups[rest].unique()))
            side[rest[fold_of(targets[rest], groups[rest], of, seed) < some]] = number
    return _with_every_class(side, targets, groups)


def as_folds(fraction: float, groups: int) -> tuple[int, int]:
    """How many of how many equal folds come nearest to a fraction between 0 and 1: at least one of two, but not all."""
    nearest = Fraction(fraction).limit_denominator(max(2, min(MOST_FOLDS, groups)))
    if 0 < nearest < 1:
        return nearest.numerator, nearest.denominator
    count = max(2, round(1 / min(fraction, 1 - fraction)))  # of more folds; fold_of refuses more than there are groups
    return (1, count) if fraction <= 0.5 else (count - 1, count)


def by_fold(
    targets: torch.Tensor, classes: int, groups: torch.Tensor | None, fold: Fold, val: float, seed: int
) -> torch.Tensor:
    """(N,) sides: test is one of several folds, disjoint and together everything; val is cut from the rest.

    fold: (k, n), the k-th of n, from 1. val: fraction of all images. A class of fewer images than folds is in the test
    of some folds only.
    """
    held = fold_of(targets, groups, fold[1], seed) == fold[0] - 1
    side = torch.full_like(targets, TEST)
    share = min(val * fold[1] / (fold[1] - 1), 1.0)
    if groups is None:
        side[~held] = by_class(targets[~held], classes, share, 0.0, seed)
    else:
        side[~held] = by_group(targets[~held], groups[~held], share, 0.0, seed)
    return side


def fold_of(targets: torch.Tensor, groups: torch.Tensor | None, count: int, seed: int) -> torch.Tensor:
    """(N,) int64: which fold of several each is in, from 0 (scikit-learn's StratifiedKFold, or StratifiedGroupKFold).

    UserError if there are fewer images or groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    there = len(targets) if groups is None else len(groups.unique())
    what = "images" if groups is None else "groups"
    if there < count:
        hint = "Use fewer folds, smaller groups, or larger val_fraction and test_fraction."
        raise UserError(f"{there} {what} cannot be divided into {count} parts", next_step=hint)
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = kind(count, shuffle=True, random_state=key(seed, Purpose.SPLIT, ALL_CLASSES) & 0xFFFFFFFF)
    labels = targets.numpy()
    # it refuses folds that the largest class cannot fill, and warns of those that the smallest cannot
    labels = labels if np.bincount(labels).max() >= count else np.zeros_like(labels)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        parts = list(folds.split(labels, labels, None if groups is None else groups.numpy()))
    found = torch.empty_like(targets)
    for number, (_, places) in enumerate(parts):
        found[torch.from_numpy(places)] = number
    return found


def _with_every_class(side: torch.Tensor, targets: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """The same with the groups of a class that train lacks back in train."""
    lacking = torch.isin(targets, targets[side == TRAIN], invert=True)
    return torch.where(torch.isin(groups, groups[lacking]), TRAIN, side)


def with_duplicates(
    side: torch.Tensor, targets: torch.Tensor, groups: torch.Tensor, fractions: tuple[float, float], seed: int
) -> torch.Tensor:
    """Sides on which no group is divided: those of `together`, or, where that empties val or test, of `by_group`.

    fractions: of val and test. UserError if there are too few groups for either.
    """
    kept = together(side, targets, groups, seed)
    before, after = side.bincount(minlength=3), kept.bincount(minlength=3)
    if (after[VAL:] >= KEPT * before[VAL:]).all():
        return kept
    return by_group(targets, groups, *fractions, seed)


def together(side: torch.Tensor, targets: torch.Tensor, groups: torch.Tensor, seed: int) -> torch.Tensor:
    """Bring each group that lies on several sides together in train. (N,) each -> (N,) sides.

    For each image that moves, one of its class that stands alone goes the other way, if there is one: sizes
    stay.
    """
    side, (_, of, sizes) = side.clone(), groups.unique(return_inverse=True, return_counts=True)
    least = torch.full((len(sizes),), TEST).scatter_reduce(0, of, side, "amin")
    most = torch.zeros(len(sizes), dtype=torch.int64).scatter_reduce(0, of, side, "amax")
    move = (least != most)[of] & (side != TRAIN)
    alone = (sizes == 1)[of] & (side == TRAIN)
    order = torch.randperm(len(side), generator=generator(seed, Purpose.SPLIT, ALL_CLASSES))
    spare = order[alone[order]]
    for i in torch.nonzero(move)[:, 0].tolist():
        same = spare[targets[spare] == targets[i]]
        if len(same) > 1:  # one stays
            side[same[0]] = side[i]
            spare = spare[spare != same[0]]
        side[i] = TRAIN
    return side


def connected(first: np.ndarray, second: np.ndarray, n: int) -> np.ndarray:
    """Pairs (P,) and (P,) of n things -> (n,) int64: things have one number if a chain of pairs connects them."""
    from scipy.sparse import coo_array  # a fifth of a second, which others need not wait for
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(n, n))
    return connected_components(links, directed=False)[1].astype(np.int64)
