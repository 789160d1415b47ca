"""Runs that can be compared: read, with what they were made by and what they answered, or refused."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.evaluation.comparison import Answer, Answers
from ignite_vision.evaluation.intervals import wilson
from ignite_vision.run_directory import RunDirectory, SeedsDirectory, command_of

SHOWN = 3  # ids in a message
# Beside the recipe's fields: what decides a result, and where run.json has it.
BESIDE = {"recipe code": ("sources",), "weights content": ("weights",), "images": ("data", "fingerprint")}


@dataclasses.dataclass(frozen=True)
class Compared:
    """A run, or results of it on other images: what it was made by, and its answers. name: as the user typed it."""

    name: str
    settings: dict[str, Any]
    answers: Answers

    @property
    def right(self) -> int:
        """Images that it has right."""
        return sum(answer.right for answer in self.answers.values())

    @property
    def accuracy(self) -> float:
        """Share of them."""
        return self.right / len(self.answers)

    @property
    def fields(self) -> dict[str, Any]:
        """What decides the result, by name."""
        found = dict(self.settings["recipe"])
        for name, keys in BESIDE.items():
            value: Any = self.settings
            for key in keys:
                value = value[key]
            found[name] = value
        return {**found, "precision": self.settings["environment"]["precision"], "tta": self.settings.get("tta")}

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain."""
        interval = list(wilson(self.right, len(self.answers)))
        return {"run": self.name, "accuracy": self.accuracy, "interval": interval, "seed": self.fields.get("seed")}


def of_seeds(place: Path) -> list[Path]:
    """Return the runs of a folder of seeds; of another place itself. UserError if the folder is not finished."""
    folder = SeedsDirectory(place)
    if RunDirectory(place).exists() or not (folder.results.is_file() or folder.begun()):
        return [place]
    if not folder.results.is_file():
        hint = "Run its command again, which goes on with them, or name the finished runs in it."
        raise UserError("not all seeds of this folder are finished", place, hint)
    return [run.path for run in folder.read()]


def refuse_twice(places: list[Path]) -> None:
    """UserError if two are the same folder."""
    resolved = [place.resolve() for place in places]
    for k, place in enumerate(places):
        if resolved[k] in resolved[:k]:
            raise UserError("this run is named twice", place, "Name each run once.")


def read(place: Path) -> Compared:
    """Read a run's results. UserError if it is no run or has none; exit 3 if they are damaged."""
    directory, results = owner(place), RunDirectory(place)
    settings = directory.read_settings()
    found = results.read_metrics()
    if found is None:
        raise UserError("this run has no results yet", place, f"Finish it: ignite-vision resume {directory}")
    file = results.predictions
    hint = f"`ignite-vision evaluate {directory}` writes it again."
    try:
        answers = read_answers(file)
    except FileNotFoundError as error:
        raise UserError("predictions.csv is missing", place, hint) from error
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise UserError(f"cannot read predictions.csv: {error}", file, hint, code=DAMAGED) from error
    if not answers or len(answers) != found["n"]:
        what = f"predictions.csv has {len(answers):,} images, metrics.json {found['n']:,}"
        raise UserError(what, file, hint, code=DAMAGED)
    return Compared(str(place), {**settings, "tta": found.get("tta")}, answers)


def owner(place: Path) -> RunDirectory:
    """Return the run of a folder of results: itself, or where it lies in RUN/val or RUN/evaluations/NAME."""
    directory = RunDirectory(place)
    if directory.exists() or not directory.predictions.is_file():
        return directory
    above = [RunDirectory(folder) for folder in place.resolve().parents[:2]]
    return next((run for run in above if run.exists()), directory)


def read_answers(file: Path) -> dict[str, Answer]:
    """Read predictions.csv. OSError, csv.Error, ValueError or LookupError where it is not as it was written."""
    found: dict[str, Answer] = {}
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        for row in csv.DictReader(lines, strict=True):
            if row["path"] in found:
                raise ValueError(f"{row['path']} is in it twice")
            if None in (row["class"], row["predicted"]):
                raise ValueError(f"the line of {row['path']} is cut off")
            found[row["path"]] = Answer(row["class"], row["predicted"])
    return found


def refuse_others(one: Compared, other: Compared) -> None:
    """UserError, which says how to make them one, if two runs do not answer the same question."""
    mine, theirs = set(map(str, one.settings["classes"])), set(map(str, other.settings["classes"]))
    if mine != theirs:
        extra = ", ".join(sorted(mine ^ theirs)[:SHOWN])
        hint = "Train both on one data set: a difference of accuracies means nothing otherwise."
        raise UserError(f"other classes than {one.name}: {extra}", Path(other.name), hint)
    apart = sorted(one.answers.keys() ^ other.answers.keys())
    labelled = [i for i, answer in one.answers.items() if i in other.answers and other.answers[i].label != answer.label]
    hint = (
        "Train both on one split (the same split_seed), or evaluate both on one folder of new images, "
        f"`ignite-vision evaluate {owner(Path(other.name))} --data DIR`, and compare the folders that it names."
    )
    if apart:
        n = len(one.answers.keys() | other.answers.keys())
        what = f"{len(apart):,} of {n:,} test images are not in both, {one.name} and this: {shown(apart)}"
        raise UserError(what, Path(other.name), hint)
    if labelled:
        what = f"test images with another class than in {one.name}, {len(labelled):,}: {shown(labelled)}"
        raise UserError(what, Path(other.name), hint)


def shown(ids: list[str]) -> str:
    """The first few ids."""
    return ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")


def differing(runs: list[Compared]) -> dict[str, list[Any]]:
    """Field -> its value in each run, where they differ; None where a run's version had no such field."""
    fields = [run.fields for run in runs]
    names = dict.fromkeys(name for some in fields for name in some)
    found = {name: [some.get(name) for some in fields] for name in names}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}


def alike(one: Compared, other: Compared) -> bool:
    """Whether two runs differ in nothing but their seed."""
    return differing([one, other]).keys() <= {"seed"}


def command(run: Compared, seeds: int) -> str:
    """Return what trains the settings of a run under this many seeds."""
    overrides = {name: value for name, value in run.settings["overrides"].items() if name != "seed"}
    folder = Path(run.settings["data"]["folder"])
    return f"{command_of({**run.settings, 'overrides': overrides}, folder)} --seeds {seeds}"


def as_text(value: Any) -> str:
    """A setting as one word: hashes and long values are cut."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
