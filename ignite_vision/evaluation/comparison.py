"""Two classifiers on the same images: which is better, by how much, and whether that is more than noise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

from ignite_vision.evaluation.intervals import NOISE, agresti_min, fair_coin, holm, images_needed
from ignite_vision.evaluation.welch import welch

POINT = 0.01
SEEDS = 3  # runs of each side, from which on their seeds can be trusted


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was said of an image."""

    label: str
    predicted: str

    @property
    def right(self) -> bool:
        """Whether it is so."""
        return self.label == self.predicted


Answers = Mapping[str, Answer]  # by the image's id


@dataclasses.dataclass(frozen=True)
class Paired:
    """How often one and another of two classifiers are right on the same n images."""

    n: int
    one: int
    """Images that the one has right."""
    lost: int
    """Images that the one alone has right."""
    gained: int
    """Images that the other alone has right."""

    @property
    def accuracies(self) -> tuple[float, float]:
        """Of the one and the other."""
        return self.one / self.n, (self.one - self.lost + self.gained) / self.n

    @property
    def difference(self) -> float:
        """Accuracy of the other less that of the one."""
        return (self.gained - self.lost) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference, by Agresti and Min."""
        return agresti_min(self.lost, self.gained, self.n)

    @property
    def chance(self) -> float:
        """How often chance alone makes such a difference: McNemar's exact test."""
        return fair_coin(self.lost, self.gained)

    @property
    def needed(self) -> int | None:
        """How many images would show this difference; None where there is none."""
        return images_needed(self.lost, self.gained, self.n)

    def turned(self) -> Paired:
        """The same with the two exchanged."""
        return Paired(self.n, self.one - self.lost + self.gained, self.gained, self.lost)


@dataclasses.dataclass(frozen=True)
class Side:
    """One of two classifiers. accuracies: its own, and those of others that were trained alike under other seeds."""

    name: str
    accuracies: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Changed:
    """An image that one of two has right: its id and class, and what each says."""

    id: str
    label: str
    one: str
    other: str


def pair(one: Answers, other: Answers) -> Paired:
    """Count. Both answer the same ids, at least one."""
    lost = sum(answer.right and not other[i].right for i, answer in one.items())
    gained = sum(other[i].right and not answer.right for i, answer in one.items())
    return Paired(len(one), sum(answer.right for answer in one.values()), lost, gained)


def by_class(one: Answers, other: Answers) -> dict[str, tuple[Paired, float]]:
    """Class -> how the two are right on its images, and the chance corrected for the number of classes (Holm).

    The surest difference first, then the largest; classes with images only.
    """
    ids: dict[str, list[str]] = {}
    for i, answer in one.items():
        ids.setdefault(answer.label, []).append(i)
    pairs = {name: pair({i: one[i] for i in some}, other) for name, some in ids.items()}
    chances = holm([found.chance for found in pairs.values()])
    rows = [(name, found, chance) for (name, found), chance in zip(pairs.items(), chances, strict=True)]
    rows.sort(key=lambda row: (row[1].chance, -abs(row[1].difference), row[0]))
    return {name: (found, chance) for name, found, chance in rows}


def changed(one: Answers, other: Answers) -> tuple[list[Changed], list[Changed]]:
    """Return the images that the other gained, and those that it lost, by id."""
    both = [Changed(i, answer.label, answer.predicted, other[i].predicted) for i, answer in sorted(one.items())]
    gained = [image for image in both if image.other == image.label != image.one]
    return gained, [image for image in both if image.one == image.label != image.other]


def verdict(found: Paired, chance: float, one: Side, other: Side) -> str:
    """`better`, `seeds` (it looks so, but the seeds may have done it), `equal` or `unknown`."""
    if chance < NOISE:
        low, high = (one, other) if found.difference > 0 else (other, one)
        enough = min(len(low.accuracies), len(high.accuracies)) >= SEEDS
        means = welch(low.accuracies, high.accuracies) if enough else None
        return "better" if means and means.difference > 0 and means.chance < NOISE else "seeds"
    return "equal" if max(map(abs, found.interval)) <= POINT else "unknown"


def words(found: Paired, chance: float, one: Side, other: Side) -> str:
    """Say it in a sentence or two. chance: of the difference, corrected if several are looked at."""
    if found.difference < 0 and chance < NOISE:  # the better is named first
        return words(found.turned(), chance, other, one)
    low, high = found.interval
    against = "{1:.3f} against {0:.3f}".format(*found.accuracies)
    points = f"{signed(found.difference)} points, 95 % interval {signed(low)} to {signed(high)}"
    how = f"{against} on the same {found.n:,} images ({points}, {probability(chance)})"
    match verdict(found, chance, one, other):
        case "better":
            return f"{other.name} is better: {how}"
        case "seeds":
            return f"{other.name} looks better, but {doubt(one, other)}: {how}"
        case "equal":
            return f"equally good within 1 point: {against} on the same {found.n:,} images ({points})"
    return " ".join(sentences(found))


def doubt(one: Side, other: Side) -> str:
    """Why a clear difference of two models need not be one of their settings."""
    fewest, most = sorted((len(one.accuracies), len(other.accuracies)))
    if most == 1:
        return "one seed each"
    return f"fewer than {SEEDS} seeds of each" if fewest < SEEDS else "other seeds may turn it"


def sentences(found: Paired) -> Iterator[str]:
    """Yield that nothing is shown, how much they disagree, and how many images would show it."""
    low, high = found.interval
    apart = found.lost + found.gained
    on = f"they disagree on {apart:,} image{'' if apart == 1 else 's'}"
    which = f"{signed(found.difference)} points, interval {signed(low)} to {signed(high)}"
    needed = found.needed
    end = "." if needed is not None and needed > found.n else ""
    yield f"no difference that {found.n:,} image{'' if found.n == 1 else 's'} can show: {which}; {on}{end}"
    if needed is not None and needed > found.n:
        yield f"About {two_digits(needed):,} images would be needed for a difference this small"


def signed(fraction: float) -> str:
    """Return points of percent with their sign; 0.0 has none."""
    text = f"{100 * fraction:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def probability(chance: float) -> str:
    """Return `p < 0.001` or `p = 0.012`."""
    return "p < 0.001" if chance < 0.001 else f"p = {chance:.3f}"


def two_digits(number: int) -> int:
    """Round up to two digits that count."""
    unit = 10 ** max(0, len(str(number)) - 2)
    return math.ceil(number / unit) * unit
