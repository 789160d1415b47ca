"""Logistic regression on the features of a frozen network, from strongly to weakly regularised.

Features of different networks have different scales and means, and the strength that is right differs by a factor of
10,000 between folders: so features are standardised, and strengths are tried. Needs no run.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from ignite_vision.errors import UserError

STRONGEST = 1e5  # weight of |W|²/2 against the sum of cross entropies; 1e4 was best for ten breeds of dogs
FACTOR = 10**0.5  # by which each strength is below the one before
TOLERANCE = 2e-4  # for a head that is to be used
MOST_STEPS = 100  # of L-BFGS, for one strength
CONSTANT = 1e-6  # deviation relative to the mean below which a feature counts as constant, in float32
AT_ONCE = 4096  # rows that are in float64 at a time
FOLDS = 5

Solution = tuple[float, torch.Tensor, torch.Tensor]


def strength_of(epoch: int) -> float:
    """Return the strength of an epoch, counted from 1: what scikit-learn calls 1 / C."""
    return STRONGEST / FACTOR ** (epoch - 1)


def fit_path(features: torch.Tensor, targets: torch.Tensor, classes: int, epochs: int) -> Iterator[Solution]:
    """Yield (strength, weight (C,D), bias (C,)) for each strength, the strongest first: float32, for raw features.

    features: (N,D) of any floating type; targets: (N,) int64. Each solution starts from the one before. UserError if
    a feature is not finite.
    """
    regression = Regression(features, targets, classes)
    heads = regression.zeros()
    for epoch in range(1, epochs + 1):
        heads = regression.solve(heads, strength_of(epoch))
        yield strength_of(epoch), *regression.folded(heads)


class Regression:
    """Multinomial logistic regression on standardised features, for one or several choices of rows at once.

    features: (N,D) of any floating type; targets: (N,) int64. used: (H,N) bool, the rows that each of H heads is fitted
    to; None: all, for one head. Standardised over the rows of the first. UserError if a feature is not finite.
    """

    def __init__(
        self, features: torch.Tensor, targets: torch.Tensor, classes: int, used: torch.Tensor | None = None
    ) -> None:
        every = torch.ones(1, len(features), dtype=torch.bool, device=features.device)
        self.used = every if used is None else used
        self.targets, self.classes = targets, classes
        self.mean, self.scale = moments(features[self.used[0]])
        if not (self.mean.isfinite().all() and features.isfinite().all()):
            bad = int((~features.isfinite().all(1)).sum())
            what = f"the network's features of {bad:,} of {len(features):,} images are not finite"
            raise UserError(what, next_step="Use --set precision=fp32, or other weights.")
        self.rows = torch.cat([self._standardised(part) for part in features.split(AT_ONCE)])

    def _standardised(self, features: torch.Tensor) -> torch.Tensor:
        return ((features.double() - self.mean) * self.scale).float()

    def zeros(self) -> torch.Tensor:
        """Heads to start from: (H,C,D+1) float32, the bias last."""
        return self.rows.new_zeros(len(self.used), self.classes, self.rows.shape[1] + 1)

    def solve(self, heads: torch.Tensor, strength: float, tolerance: float = TOLERANCE) -> torch.Tensor:
        """Return the best heads at a strength, (H,C,D+1), found from those that are given.

        tolerance: the largest gradient of the mean cross entropy at which heads count as solved.
        """
        heads = heads.clone().requires_grad_()
        lbfgs = torch.optim.LBFGS(
            [heads], max_iter=MOST_STEPS, tolerance_grad=tolerance, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def objective() -> torch.Tensor:
            lbfgs.zero_grad()
            value = self._objective(heads, strength)
            value.backward()
            return value

        with torch.enable_grad():
            lbfgs.step(objective)
        return heads.detach()

    def _objective(self, heads: torch.Tensor, strength: float) -> torch.Tensor:
        """Cross entropy and penalty of all heads, in nats for each row: they do not know of each other."""
        logits = self.logits(heads)
        losses = nn.functional.cross_entropy(
            logits.flatten(0, 1), self.targets.repeat_interleave(len(heads)), reduction="none"
        )
        penalty = strength / 2 * heads[:, :, :-1].square().sum()
        return ((losses.view(logits.shape[:2]) * self.used.T).sum() + penalty) / len(self.rows)

    def logits(self, heads: torch.Tensor) -> torch.Tensor:
        """What the heads say of all rows: (N,H,C) float32."""
        flat = heads.flatten(0, 1)
        return torch.addmm(flat[:, -1], self.rows, flat[:, :-1].T).view(-1, *heads.shape[:2])

    def folded(self, heads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (weight (C,D), bias (C,)) float32 of the first head, as a layer on raw features."""
        weight = heads[0, :, :-1].double() * self.scale
        bias = heads[0, :, -1].double() - weight @ self.mean
        return weight.float(), bias.float()


def moments(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(mean, 1 / standard deviation) of each feature over (N,D), float64; 0 for one that is constant."""
    n, parts = len(features), features.split(AT_ONCE)
    mean = torch.stack([part.sum(0, dtype=torch.float64) for part in parts]).sum(0) / n
    squares = torch.stack([(part.double() - mean).square().sum(0) for part in parts]).sum(0)
    deviation = (squares / n).sqrt()
    return mean, torch.where(deviation > CONSTANT * mean.abs(), 1 / deviation, 0.0).nan_to_num(0.0, 0.0, 0.0)


def stratified_folds(targets: torch.Tensor, folds: int = FOLDS) -> torch.Tensor:
    """Return the fold of each row, (N,) int64: rows sorted by class take turns, so that each fold has each class."""
    order = torch.sort(targets, stable=True).indices
    fold = torch.empty_like(targets)
    fold[order] = torch.arange(len(targets), device=targets.device) % folds
    return fold
