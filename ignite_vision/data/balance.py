"""Classes of unequal sizes: how much an image weighs in the loss, or how often it is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ignite_vision.errors import UserError, did_you_mean
from ignite_vision.randomness import Purpose, generator


def class_weights(
    wanted: str | Mapping[str, float] | None, targets: torch.Tensor, classes: Sequence[str]
) -> torch.Tensor | None:
    """Weights of the classes in the training loss, (C,) float32; None if none are wanted.

    wanted: "balanced", scikit-learn's n / (C * count), of which the mean over all images is 1; or class -> weight, 1
    for a class that is not named. targets: (N,) int64, of the training images. UserError for an unknown class.
    """
    if wanted is None:
        return None
    if isinstance(wanted, str):
        counts = targets.bincount(minlength=len(classes))
        there = int((counts > 0).sum())
        return len(targets) / (there * counts.clamp(min=1).to(torch.float32))
    for name in wanted:
        if name not in classes:
            hint = did_you_mean(name, classes) or "Name classes of the data."
            raise UserError(f"class_weights names '{name}', which is no class of the data", next_step=hint)
    return torch.tensor([float(wanted.get(name, 1.0)) for name in classes])


def balanced_order(targets: torch.Tensor, seed: int, epoch: int) -> np.ndarray:
    """Draw as many images of each class, in any order: (N,) int64 targets -> (N,) int64, image + N * repeat.

    An image is drawn again only after all of its class were; repeat counts how often it was drawn before. Classes that
    do not divide N differ by one image, which has other classes in other epochs.
    """
    random, n = generator(seed, Purpose.ORDER, epoch), len(targets)
    sizes = targets.bincount()
    there = torch.nonzero(sizes)[:, 0]
    wanted = torch.full((len(there),), n // len(there))
    wanted[torch.randperm(len(there), generator=random)[: n % len(there)]] += 1
    members = torch.argsort(targets, stable=True).split(sizes[there].tolist())
    drawn = [_in_turn(rows, want, n, random) for rows, want in zip(members, wanted.tolist(), strict=True)]
    return torch.cat(drawn)[torch.randperm(n, generator=random)].numpy()


def _in_turn(rows: torch.Tensor, want: int, n: int, random: torch.Generator) -> torch.Tensor:
    """`want` of the rows, all of them before one is repeated. The k-th repeat has n * k added."""
    rounds = range(-(-want // len(rows)))
    turns = [rows[torch.randperm(len(rows), generator=random)] + n * k for k in rounds]
    return torch.cat(turns)[:want] if turns else rows[:0]
