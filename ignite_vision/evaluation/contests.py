"""Two settings, each under several seeds, on the same images: which is better, whatever the seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ignite_vision.evaluation.comparison import POINT, SEEDS, Paired, probability, signed
from ignite_vision.evaluation.intervals import NOISE
from ignite_vision.evaluation.welch import Welch, welch


@dataclasses.dataclass(frozen=True)
class Setting:
    """Runs that differ in their seed alone, with the accuracy of each."""

    name: str
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy over seeds."""
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the accuracies, by n - 1; None of a single seed."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else None


@dataclasses.dataclass(frozen=True)
class Contest:
    """A setting against another, each of two seeds or more. pairs: of runs, by seed where both have it."""

    one: Setting
    other: Setting
    pairs: Sequence[Paired]

    @property
    def means(self) -> Welch:
        """The difference of their means, over seeds."""
        return welch(self.one.accuracies, self.other.accuracies)

    @property
    def sure_pairs(self) -> int:
        """Pairs of runs that differ, in the direction of the means, by more than the images' noise (McNemar)."""
        sign = np.sign(self.means.difference)
        return sum(found.chance < NOISE and np.sign(found.difference) == sign for found in self.pairs)

    @property
    def fewest(self) -> int:
        """Seeds of the side that has fewer."""
        return min(len(self.one.accuracies), len(self.other.accuracies))

    def turned(self) -> Contest:
        """The same with the two exchanged."""
        return Contest(self.other, self.one, [found.turned() for found in self.pairs])

    def verdict(self, chance: float) -> str:
        """`better`, `seeds` or `images` (it looks so, but other ones may turn it), `equal` or `unknown`.

        chance: of the difference of means, corrected if several are looked at.
        """
        over_images = 2 * self.sure_pairs > len(self.pairs)
        if chance < NOISE:
            return ("better" if self.fewest >= SEEDS else "seeds") if over_images else "images"
        if over_images:
            return "seeds"
        ends = [self.means.interval, *(found.interval for found in self.pairs)]
        return "equal" if all(max(map(abs, interval)) <= POINT for interval in ends) else "unknown"

    def words(self, chance: float) -> str:
        """Say it in a sentence. chance: as for `verdict`."""
        verdict = self.verdict(chance)
        if self.means.difference < 0 and verdict not in ("equal", "unknown"):  # the better is named first
            return self.turned().words(chance)
        low, high = self.means.interval
        n, seeds = self.pairs[0].n, " and ".join(str(len(side.accuracies)) for side in (self.other, self.one))
        how = (
            f"mean {self.other.mean:.3f} against {self.one.mean:.3f} of {seeds} seeds on the same {n:,} images "
            f"({signed(self.means.difference)} points, 95 % interval over seeds {signed(low)} to {signed(high)}, "
            f"{probability(chance)})"
        )
        doubt = "other seeds may turn it" if self.fewest >= SEEDS else f"fewer than {SEEDS} seeds of each"
        return {
            "better": f"{self.other.name} is better: {how}",
            "seeds": f"{self.other.name} looks better, but {doubt}: {how}",
            "images": f"{self.other.name} is better on these images, but others may turn it: {how}",
            "equal": f"equally good within 1 point: {how}",
            "unknown": f"no difference that these seeds and images can show: {how}",
        }[verdict]
