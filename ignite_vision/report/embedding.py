"""A map of the test images: near each other is what looks alike to the model."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from ignite_vision.data.containers import Container
from ignite_vision.evaluation.predictions import Predictions
from ignite_vision.report.thumbnails import COLUMNS, sheet

MOST, MOST_WRONG = 500, 150  # images on the map; errors among them
FEWEST = 12  # images, for a map to say anything
COMPONENTS = 50  # of the PCA before t-SNE, as its authors advise
NEIGHBOURS = 30  # t-SNE's perplexity
STEPS = 500  # of t-SNE: half of scikit-learn's default; 500 points move no more that can be seen
WIDTH, HEIGHT, MARGIN = 640, 420, 14
COLOURED, NAMED = 12, 40  # classes that have a colour each, and a name on the map


@dataclasses.dataclass(frozen=True)
class Spot:
    """An image on the map: its place, class number, whether it is right, and what is said of it."""

    x: float
    y: float
    label: int
    right: bool
    text: str


@dataclasses.dataclass(frozen=True)
class Map:
    """Images by what the model makes of them. names: (x, y, class) in the middle of each; sprites: all pictures."""

    spots: list[Spot]
    names: list[tuple[float, float, str]]
    sprites: str
    rows: int
    of: int
    coloured: bool
    columns: int = COLUMNS
    width: int = WIDTH
    height: int = HEIGHT


def embed(features: torch.Tensor, predictions: Predictions, images: Container, seed: int) -> Map | None:
    """Lay out up to 500 of the images, errors first. features: (N,D). None for fewer than 12, or if not finite."""
    right = (predictions.labels == predictions.targets).numpy()
    chosen = choose(right, seed)
    rows = features[chosen].flatten(1).double().numpy()
    if len(chosen) < FEWEST or not np.isfinite(rows).all():
        return None
    places = scaled(laid_out(rows, seed))
    names, targets = predictions.classes, predictions.targets[chosen].numpy()
    labels = predictions.labels[chosen].tolist()
    spots = [
        Spot(x, y, int(t), bool(right[i]), names[t] if right[i] else f"{names[t]}, taken for {names[label]}")
        for (x, y), i, t, label in zip(places.tolist(), chosen, targets, labels, strict=True)
    ]
    return Map(
        spots=spots,
        names=middles(places, targets, names) if len(names) <= NAMED else [],
        sprites=sheet([images[int(i)][0] for i in chosen]),
        rows=-(-len(chosen) // COLUMNS),
        of=len(right),
        coloured=len(names) <= COLOURED,
    )


def choose(right: np.ndarray, seed: int) -> np.ndarray:
    """Return the images to show, ascending: all up to 500, else up to 150 errors and others at random."""
    if len(right) <= MOST:
        return np.arange(len(right))
    random = np.random.default_rng(seed)
    wrong = random.permutation(np.flatnonzero(~right))
    others = random.permutation(np.flatnonzero(right))
    errors = wrong[: max(MOST_WRONG, MOST - len(others))]
    return np.sort(np.concatenate([errors, others[: MOST - len(errors)]]))


def laid_out(rows: np.ndarray, seed: int) -> np.ndarray:
    """(n,D) features -> (n,2): t-SNE of their directions, from their principal components."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    if np.ptp(rows, axis=0).max() < 1e-9:  # all alike: nothing to lay out
        return np.zeros((len(rows), 2))
    components = PCA(min(COMPONENTS, *rows.shape), random_state=seed).fit_transform(rows)
    perplexity = min(NEIGHBOURS, (len(rows) - 1) / 3)
    init = "pca" if components.shape[1] > 1 else "random"
    return np.asarray(
        TSNE(init=init, perplexity=perplexity, max_iter=STEPS, random_state=seed).fit_transform(components)
    )


def scaled(places: np.ndarray) -> np.ndarray:
    """(n,2) -> the same over the whole picture, within its margin."""
    low, span = places.min(0), np.maximum(np.ptp(places, axis=0), 1e-9)
    return np.round(MARGIN + (places - low) / span * (np.array([WIDTH, HEIGHT]) - 2 * MARGIN), 1)


def middles(places: np.ndarray, targets: np.ndarray, names: tuple[str, ...]) -> list[tuple[float, float, str]]:
    """Return the median place of each class that is there, a little above, with its name."""
    found = []
    for c in np.unique(targets):
        x, y = np.median(places[targets == c], axis=0)
        found.append((round(float(x), 1), round(float(y) - 9, 1), names[c]))
    return found
