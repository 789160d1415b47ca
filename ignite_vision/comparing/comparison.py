"""Compare runs on the same test images: what differs in their settings, and what that did to their answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ignite_vision.comparing.groups import Group, GroupVersus, contests, grouped, numbers
from ignite_vision.comparing.runs import Compared, alike, differing, of_seeds, read, refuse_others, refuse_twice
from ignite_vision.errors import UserError
from ignite_vision.evaluation.comparison import Changed, Paired, Side, by_class, changed, pair, verdict, words
from ignite_vision.evaluation.intervals import holm

FORMAT = 1  # of what --json prints


@dataclasses.dataclass(frozen=True)
class Versus:
    """A run against the first. chance: of the difference, corrected for the number of runs (Holm)."""

    one: Side
    other: Side
    found: Paired
    chance: float
    classes: dict[str, tuple[Paired, float]]
    gained: list[Changed]
    lost: list[Changed]

    @property
    def difference(self) -> float:
        """The other's accuracy less the one's."""
        return self.found.difference

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return self.found.interval

    @property
    def words(self) -> str:
        """What can be said of it."""
        return words(self.found, self.chance, self.one, self.other)

    @property
    def verdict(self) -> str:
        """The same as a name."""
        return verdict(self.found, self.chance, self.one, self.other)

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain."""
        return {
            "run": self.other.name,
            "against": self.one.name,
            "verdict": self.verdict,
            "words": self.words,
            **numbers(self.found, self.chance),
            "needed": self.found.needed,
            "classes": [{"class": name, **numbers(*row)} for name, row in self.classes.items()],
            "images_gained": [dataclasses.asdict(image) for image in self.gained],
            "images_lost": [dataclasses.asdict(image) for image in self.lost],
        }


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs, what differs in their settings (a value for each run), and each against the first.

    groups: of runs that are alike but for their seed. contests: each group against the first, where both have seeds.
    """

    runs: list[Compared]
    settings: dict[str, list[Any]]
    versus: list[Versus]
    groups: list[Group]
    contests: list[GroupVersus]

    @property
    def alone(self) -> list[Versus]:
        """The runs that no comparison of several seeds speaks of, each against the first."""
        sides = [group for contest in self.contests for group in (contest.one, contest.other)]
        told = {run.name for group in sides for run in group.runs}
        return [one for one in self.versus if one.other.name not in told]

    @property
    def told(self) -> list[Versus]:
        """What is told in detail: an example of each comparison of several seeds, and the runs alone."""
        examples = {contest.example for contest in self.contests}
        return [*(one for one in self.versus if (one.one.name, one.other.name) in examples), *self.alone]

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain, without clock and host."""
        return {
            "format": FORMAT,
            "n": len(self.runs[0].answers),
            "runs": [run.to_dict() for run in self.runs],
            "settings": self.settings,
            "comparisons": [one.to_dict() for one in self.versus],
            "groups": [group.to_dict() for group in self.groups],
            "group_comparisons": [one.to_dict() for one in self.contests],
        }


def compare(places: list[Path]) -> Comparison:
    """Compare two or more runs, folders of results within runs, or of seeds, on the images that all have answered.

    UserError if there is only one, one is no run or unfinished, or they answered other images or classes.
    """
    places = [run for place in places for run in of_seeds(place)]
    if len(places) < 2:
        raise UserError("one run cannot be compared", next_step="Name two or more: ignite-vision compare RUN RUN")
    refuse_twice(places)
    runs = [read(place) for place in places]
    for other in runs[1:]:
        refuse_others(runs[0], other)
    pairs = [pair(runs[0].answers, other.answers) for other in runs[1:]]
    chances = holm([found.chance for found in pairs])
    groups = grouped(runs)
    return Comparison(
        runs,
        differing(runs),
        [versus(runs, k, found, chance) for k, (found, chance) in enumerate(zip(pairs, chances, strict=True), 1)],
        groups,
        contests(groups),
    )


def versus(runs: list[Compared], k: int, found: Paired, chance: float) -> Versus:
    """Compare run k with the first."""
    one, other = runs[0], runs[k]
    mine, theirs = one.answers, other.answers
    return Versus(
        side(runs, one, other), side(runs, other, one), found, chance, by_class(mine, theirs), *changed(mine, theirs)
    )


def side(runs: list[Compared], run: Compared, against: Compared) -> Side:
    """Return a run with the accuracies of its seeds: by itself where the other is one of them."""
    seeds = [run] if alike(run, against) else [some for some in runs if alike(run, some)]
    return Side(run.name, tuple(some.accuracy for some in seeds))
