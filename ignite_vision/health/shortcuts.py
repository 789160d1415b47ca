"""Shortcuts: classes that a model can tell by the file or by its border, without looking at what is shown."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ignite_vision.health.collection import Collection
from ignite_vision.health.findings import Finding, listed
from ignite_vision.health.records import Records, format_name

MOST = 5_000  # images that are looked at: 0.5 s for 2,000
TREES, LEAST_IN_LEAF, FOLDS = 60, 3, 3
ENOUGH = 10  # images of a class
FOUND = 0.9  # recall of a class that is given away,
TIMES_CHANCE = 5  # and it is this many times chance,
FALSELY = 0.05  # or no more than this share of other images is taken for it: of 2 to 5 classes none is 5 times chance
ALL_FOUND = 0.5  # of the way from chance to 1, for all classes together, if they are more than 5
GREY = 3  # median of the largest channel minus the smallest
APART = 0.5  # difference of a class's share of grey images from that of the others


def shortcuts(images: Collection, records: Records) -> Iterator[Finding]:
    """Yield what gives classes away."""
    yield from told_by_files(images, records)
    yield from grey_classes(images, records)


def told_by_files(images: Collection, records: Records) -> Iterator[Finding]:
    """Yield what of their files gives classes away: format, size, bytes a pixel, the colour of the border."""
    rows, targets = records.rows, images.targets
    chosen = sample(targets, rows["readable"])
    if len(np.unique(targets[chosen])) < 2:
        return
    part, labels = rows[chosen], targets[chosen]
    kind = part["format"][:, None]
    size = np.stack([part["width"], part["height"], part["width"] / part["height"]], axis=1)
    density = (part["bytes"] / (part["width"].astype(np.float64) * part["height"]))[:, None]
    if found := given_away(kind, labels, images.classes):
        formats = ", ".join(sorted({format_name(number) for number in part["format"]}))
        yield finding("shortcut_format", "must", found, f"the format of the file alone ({formats})", "in one format")
    elif found := given_away(np.hstack([kind, size, density, part["mode"][:, None]]), labels, images.classes):
        yield finding("shortcut_file", "look", found, "size, format or bytes a pixel alone", "at one size and quality")
    if found := given_away(part["border"], labels, images.classes):
        yield finding(
            "shortcut_border", "look", found, "the colour of the border alone", "with the same kind of margin"
        )


def finding(kind: str, level: str, found: tuple[list[str], float], by: str, alike: str) -> Finding:
    """A finding on classes that are given away. found: as `given_away` returns it."""
    names, recall = found
    what = f"{listed(names)} can be" if names else "most classes can be"
    message = f"{what} told by {by} ({recall:.0%} found): a model may learn that, and fail on other images"
    return Finding(kind, level, max(1, len(names)), message, f"Save the images of all classes {alike}.")


def sample(targets: np.ndarray, readable: np.ndarray) -> np.ndarray:
    """Places of at most 5,000 readable images of classes with enough of them, evenly from all."""
    enough = np.bincount(targets[readable], minlength=int(targets.max()) + 1) >= ENOUGH
    places = np.flatnonzero(readable & enough[targets])
    places = places[np.argsort(targets[places], kind="stable")]
    places = places[np.linspace(0, len(places) - 1, min(MOST, len(places)), dtype=np.int64)]
    drawn = np.bincount(targets[places], minlength=len(enough))
    return places[drawn[targets[places]] >= FOLDS]  # of many classes some may be left with fewer


def given_away(facts: np.ndarray, targets: np.ndarray, names: tuple[str, ...]) -> tuple[list[str], float] | None:
    """Classes that trees tell by facts (N,F), and the least recall of them; ([], accuracy) if it is all together."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    labels = np.unique(targets)
    if (facts == facts[:1]).all():
        return None
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    trees = ExtraTreesClassifier(TREES, min_samples_leaf=LEAST_IN_LEAF, class_weight="balanced", random_state=0)
    guessed = cross_val_predict(trees, facts, targets, cv=folds)
    recall = {label: float((guessed[targets == label] == label).mean()) for label in labels.tolist()}
    falsely = {label: float((guessed[targets != label] == label).mean()) for label in labels.tolist()}
    chance = 1 / len(labels)
    found = {k: r for k, r in recall.items() if r >= FOUND and (r >= TIMES_CHANCE * chance or falsely[k] <= FALSELY)}
    if found:
        return sorted(names[k] for k in found), min(found.values())
    balanced = float(np.mean(list(recall.values())))
    together = len(labels) > TIMES_CHANCE and (balanced - chance) / (1 - chance) > ALL_FOUND
    return ([], balanced) if together else None


def grey_classes(images: Collection, records: Records) -> Iterator[Finding]:
    """Yield classes that are grey where the others are not, or coloured where these are grey."""
    readable, targets = records.rows["readable"], images.targets
    grey = (records.rows["colour"] < GREY) & readable
    n = np.bincount(targets[readable], minlength=len(images.classes))
    of_these = np.bincount(targets[grey], minlength=len(images.classes))
    rest, rest_grey = n.sum() - n, of_these.sum() - of_these
    enough = (n >= ENOUGH) & (rest >= ENOUGH)
    apart = np.abs(of_these / np.maximum(n, 1) - rest_grey / np.maximum(rest, 1)) > APART
    found = [name for name, odd in zip(images.classes, enough & apart, strict=True) if odd]
    if found:
        message = (
            f"{listed(found)}: grey where other classes are coloured, or the other way round. A model may learn that, "
            "and fail on other images"
        )
        yield Finding("shortcut_grey", "look", len(found), message, "Make all images grey, or add coloured ones.")
