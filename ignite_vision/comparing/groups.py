"""Runs that differ in their seed alone, as one: each such group against the first."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ignite_vision.comparing.runs import Compared, alike
from ignite_vision.evaluation.comparison import Paired, pair
from ignite_vision.evaluation.contests import Contest, Setting
from ignite_vision.evaluation.intervals import holm
from ignite_vision.run_directory import SeedsDirectory


def numbers(found: Paired, chance: float) -> dict[str, Any]:
    """Return the counts and what follows from them. JSON-plain."""
    return {
        "n": found.n,
        "accuracies": list(found.accuracies),
        "difference": found.difference,
        "interval": list(found.interval),
        "gained": found.gained,
        "lost": found.lost,
        "chance": found.chance,
        "corrected_chance": chance,
    }


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone. name: of the folder of seeds, else of the first run."""

    name: str
    runs: list[Compared]

    @property
    def setting(self) -> Setting:
        """Their accuracies."""
        return Setting(self.name, tuple(run.accuracy for run in self.runs))

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain."""
        numbers = {"mean": self.setting.mean, "deviation": self.setting.deviation}
        seeds = [run.fields.get("seed") for run in self.runs]
        return {"name": self.name, "runs": [run.name for run in self.runs], "seeds": seeds, **numbers}


@dataclasses.dataclass(frozen=True)
class GroupVersus:
    """A group against the first, both of several seeds. chance: of the means, corrected for the number of groups."""

    one: Group
    other: Group
    pairs: list[tuple[Compared, Compared]]
    contest: Contest
    chance: float

    @property
    def difference(self) -> float:
        """The other's accuracy less the one's."""
        return self.contest.means.difference

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return self.contest.means.interval

    @property
    def words(self) -> str:
        """What can be said of it."""
        return self.contest.words(self.chance)

    @property
    def verdict(self) -> str:
        """The same as a name."""
        return self.contest.verdict(self.chance)

    @property
    def example(self) -> tuple[str, str]:
        """Names of two runs that stand for the others: the first, and that of the same seed if there is one."""
        first = self.one.runs[0].name
        return first, next((b.name for a, b in self.pairs if a.name == first), self.other.runs[0].name)

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain."""
        means, pairs = self.contest.means, zip(self.pairs, self.contest.pairs, strict=True)
        return {
            "group": self.other.name,
            "against": self.one.name,
            "verdict": self.verdict,
            "words": self.words,
            "difference": means.difference,
            "interval": list(means.interval),
            "chance": means.chance,
            "corrected_chance": self.chance,
            "pairs": [
                {"run": other.name, "against": one.name, **numbers(found, found.chance)}
                for (one, other), found in pairs
            ],
        }


def grouped(runs: list[Compared]) -> list[Group]:
    """Put runs together that differ in their seed alone, in order."""
    groups: list[list[Compared]] = []
    for run in runs:
        mine = next((group for group in groups if alike(group[0], run)), None)
        if mine is None:
            groups.append([run])
        else:
            mine.append(run)
    return [Group(name_of(group), group) for group in groups]


def name_of(runs: list[Compared]) -> str:
    """The folder of seeds where all of several runs lie, else the first run's name."""
    places = {Path(run.name).parent for run in runs}
    folder = places.pop()
    whole = len(runs) > 1 and not places and SeedsDirectory(folder).results.is_file()
    return str(folder) if whole else runs[0].name


def contests(groups: list[Group]) -> list[GroupVersus]:
    """Compare each group of several seeds with the first, if that has several, too."""
    first, *others = (group for group in groups if len(group.runs) > 1 or group is groups[0])
    if len(first.runs) < 2:
        return []
    paired = [by_seed(first, other) for other in others]
    met = [
        Contest(first.setting, other.setting, [pair(a.answers, b.answers) for a, b in pairs])
        for other, pairs in zip(others, paired, strict=True)
    ]
    chances = holm([contest.means.chance for contest in met])
    return [GroupVersus(first, *found) for found in zip(others, paired, met, chances, strict=True)]


def by_seed(one: Group, other: Group) -> list[tuple[Compared, Compared]]:
    """Pair the runs of two groups by their seeds; where they have none in common, as they stand."""
    theirs = {run.fields.get("seed"): run for run in other.runs}
    both = [(run, theirs[seed]) for run in one.runs if (seed := run.fields.get("seed")) in theirs]
    return both or list(zip(one.runs, other.runs, strict=False))
