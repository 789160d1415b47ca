"""Images with what the model says of them: the worst errors, the least certain, a typical one of each class."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ignite_vision.data.containers import Container
from ignite_vision.data.preprocessing import Preprocessing, window
from ignite_vision.evaluation.label_errors import Suspect
from ignite_vision.evaluation.predictions import Predictions
from ignite_vision.report.thumbnails import TINY, heat_picture, thumbnail, webp

WORST, UNSURE, SUSPECTS = 24, 12, 24  # images shown
TYPICAL, FEW = 30, 12  # classes that all have a typical image; of more the weakest few
BEST = 3  # classes named of an image

Heat = Callable[[Sequence[int], Sequence[int]], Sequence[torch.Tensor | None]]
"""(places in the split, a class for each) -> (h,w) float32 in [0,1] for each, or None where nothing speaks for it."""


@dataclasses.dataclass(frozen=True)
class Card:
    """An image and its caption. box: left, top, width and height of what the model saw, in percent of the image."""

    src: str
    width: int
    height: int
    tiny: bool
    name: str
    true: str
    predicted: str
    confidence: float
    best: list[tuple[str, float]]
    heat: str | None = None
    box: tuple[float, float, float, float] = (0, 0, 100, 100)


@dataclasses.dataclass(frozen=True)
class Galleries:
    """Cards of the test images."""

    worst: list[Card]
    unsure: list[Card]
    typical: list[Card]
    wrong: int


def galleries(
    predictions: Predictions,
    images: Container,
    preprocessing: Preprocessing,
    heat: Heat | None,
    order: Sequence[int],
) -> Galleries:
    """Choose and draw. order: of the classes, for the typical ones; of more than 30 the first 12 have one."""
    probabilities, labels, targets = (
        predictions.probabilities.numpy(),
        predictions.labels.numpy(),
        predictions.targets.numpy(),
    )
    own = probabilities[np.arange(len(targets)), targets]
    wrong = np.flatnonzero(labels != targets)
    worst = wrong[np.argsort(own[wrong], kind="stable")][:WORST]
    unsure = np.argsort(probabilities.max(1, initial=0), kind="stable")[:UNSURE]
    found = (most_typical(c, own, labels, targets) for c in (order if len(order) <= TYPICAL else order[:FEW]))
    typical = [i for i in found if i is not None]
    chosen = list(dict.fromkeys(int(i) for i in (*worst, *unsure, *typical)))
    cards = dict(zip(chosen, drawn(chosen, predictions, images, preprocessing, heat), strict=True))
    first, second, third = ([cards[int(i)] for i in group] for group in (worst, unsure, typical))
    return Galleries(first, second, third, len(wrong))


def most_typical(c: int, own: np.ndarray, labels: np.ndarray, targets: np.ndarray) -> int | None:
    """Return the image of a class that the model is surest of and right about; None without one. own: p(true class)."""
    found = np.flatnonzero((targets == c) & (labels == c))
    return int(found[own[found].argmax()]) if len(found) else None


def drawn(
    chosen: list[int], predictions: Predictions, images: Container, preprocessing: Preprocessing, heat: Heat | None
) -> list[Card]:
    """Make the cards of test images, with heat that speaks for the predicted class."""
    labels = predictions.labels[chosen].tolist()
    maps = heat(chosen, labels) if heat is not None and chosen else [None] * len(chosen)
    cards = []
    for i, label, found in zip(chosen, labels, maps, strict=True):
        true, best = int(predictions.targets[i]), predictions.probabilities[i].topk(min(BEST, len(predictions.classes)))
        named = [(predictions.classes[c], p) for c, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
        card = photo(images[i][0], predictions.ids[i], predictions.classes[true], predictions.classes[label], named)
        if found is not None:
            card = dataclasses.replace(card, heat=heat_picture(found), box=seen(images[i][0], preprocessing))
        cards.append(card)
    return cards


def photo(image: torch.Tensor, name: str, true: str, predicted: str, best: list[tuple[str, float]]) -> Card:
    """Make a card without heat. best: (class, probability), the most probable first. image: (C,H,W) uint8."""
    picture = thumbnail(image)
    tiny = max(picture.size) <= TINY
    return Card(webp(picture), picture.width, picture.height, tiny, name, true, predicted, best[0][1], best)


def seen(image: torch.Tensor, preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """Left, top, width and height of what the model saw, in percent of the image."""
    height, width = image.shape[1:]
    top, left, down, across = window(height, width, preprocessing)
    left, top, across, down = (
        round(100 * value, 2) for value in (left / width, top / height, across / width, down / height)
    )
    return left, top, across, down


def suspect_cards(found: Sequence[Suspect], images: Callable[[str], Container]) -> list[Card]:
    """Make cards of images whose label may be wrong, the least probable label first. images: of a split."""
    return [
        photo(images(s.split)[s.place][0], f"{s.split}: {s.path}", s.label, s.looks_like, [(s.looks_like, s.p_other)])
        for s in found[:SUSPECTS]
    ]
