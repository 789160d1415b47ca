"""One recipe under several seeds, on one split: a run for each, and how far the results depend on the seed."""

from __future__ import annotations

import copy
import dataclasses
import functools
import gc
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ignite_vision.data.splits import fingerprint
from ignite_vision.errors import Stopped, UserError
from ignite_vision.evaluation.tables import json_plain
from ignite_vision.identity import fields_of
from ignite_vision.jobs import Outcome, train_and_evaluate
from ignite_vision.loading.plan import Plan
from ignite_vision.prepare import Options, Prepared, Say, prepare
from ignite_vision.recipe_files import LoadedRecipe
from ignite_vision.run_directory import RunDirectory, SeedsDirectory
from ignite_vision.system import distributed
from ignite_vision.system.files import keeping, write_atomically

FORMAT = 1  # of seeds.json
NUMBERS = ("accuracy", "balanced_accuracy", "macro_f1", "loss")  # of metrics.json, of which a mean is made
# fields in which the runs of one folder may differ: a shorter one is trained on; weights count by their content
OWN = {"seed", "epochs", "weights"}


@dataclasses.dataclass(frozen=True)
class Seeded:
    """A finished run of a seed, with its metrics.json."""

    seed: int
    directory: RunDirectory
    metrics: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain. run: the folder's name, beside seeds.json."""
        numbers = {name: self.metrics[name] for name in (*NUMBERS, "epoch", "epochs", "exact")}
        return {"seed": self.seed, "run": self.directory.path.name, **numbers}


@dataclasses.dataclass(frozen=True)
class Spread:
    """Several seeds of one recipe, and the folder of their runs."""

    folder: SeedsDirectory
    runs: list[Seeded]

    def values(self, name: str) -> list[float]:
        """A number of metrics.json under each seed."""
        return [run.metrics[name] for run in self.runs]

    def mean(self, name: str) -> float:
        """Its mean over the seeds."""
        return float(np.mean(self.values(name)))

    def deviation(self, name: str) -> float:
        """Its standard deviation over seeds, by n - 1."""
        return float(np.std(self.values(name), ddof=1))

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain, without clock, host and paths of a machine."""
        found = {
            "format": FORMAT,
            "split": self.runs[0].metrics["split"],
            "n": self.runs[0].metrics["n"],
            "mean": {name: self.mean(name) for name in NUMBERS},
            "deviation": {name: self.deviation(name) for name in NUMBERS},
            "runs": [run.to_dict() for run in self.runs],
        }
        return json_plain(found)


@dataclasses.dataclass(frozen=True)
class Work:
    """What the command asks for, whatever the seed, and whom to tell. overrides: without a seed.

    announce: called before anything is computed under a seed. done: with what came of it.
    """

    loaded: LoadedRecipe
    overrides: dict[str, str]
    options: Options
    say: Say
    announce: Callable[[int, Prepared, Plan], None]
    done: Callable[[int, Outcome], None]

    def prepared(self, seed: int, directory: RunDirectory) -> Prepared:
        """Everything that training under a seed needs.

        The recipe is a copy: a loss that learns, or an augmentation that counts, is as new under every seed.
        """
        loaded = dataclasses.replace(self.loaded, recipe=copy.deepcopy(self.loaded.recipe))
        options = dataclasses.replace(self.options, out=directory.path)
        prepared = prepare(loaded, {**self.overrides, "seed": str(seed)}, options, self.tell)
        return dataclasses.replace(prepared, say=self.say)

    @functools.cached_property
    def tell(self) -> Say:
        """`say`, but only the first time: of the data, which are the same under every seed."""
        return functools.cache(self.say)


def train_seeds(seeds: Sequence[int], work: Work) -> Spread:
    """Train under each seed, one after another, in `OUT/seed-N`; finished ones stay as they are. Two seeds or more.

    UserError if the folder holds something else, or runs of another recipe, data or split.
    """
    folder = folder_of(work)
    folder.refuse_foreign()
    runs = []
    for seed in seeds:
        outcome = train_seed(seed, folder, work)
        work.done(seed, outcome)
        runs.append(Seeded(seed, folder.run(seed), outcome.metrics))
        gc.collect()  # engines and handlers hold each other: without this, two models share a GPU's memory
    found = Spread(folder, runs)
    if distributed.is_first():
        write(found)
    return found


def folder_of(work: Work) -> SeedsDirectory:
    """Return the folder of --out, else that of the recipe's own seed with `-seeds` after its name."""
    if work.options.out is not None:
        return SeedsDirectory(work.options.out)
    alone = prepare(work.loaded, work.overrides, work.options, work.tell).directory.path
    return SeedsDirectory(alone.with_name(f"{alone.name}-seeds"))


def train_seed(seed: int, folder: SeedsDirectory, work: Work) -> Outcome:
    """Train one of them to its end, or find it finished."""
    prepared = work.prepared(seed, folder.run(seed))
    distributed.from_first(lambda: refuse_others(folder, prepared))

    def announce(planned: Prepared, plan: Plan) -> None:
        if distributed.is_first():  # what it says may not hold much longer
            folder.results.unlink(missing_ok=True)
        work.announce(seed, planned, plan)

    try:
        return train_and_evaluate(prepared, announce)
    except Stopped as stop:
        raise Stopped(f"{stop.what}, or all seeds by the same command again", stop.code) from None


def refuse_others(folder: SeedsDirectory, prepared: Prepared) -> None:
    """UserError if another run in the folder is of another recipe, data or split: their mean would mean nothing."""
    mine = {name: value for name, value in plain(fields_of(prepared.recipe)).items() if name not in OWN}
    for other in folder.begun():
        settings = other.read_settings()
        theirs = settings["recipe"]
        names = [name for name, value in mine.items() if name in theirs and theirs[name] != value]
        names += ["weights"] * (settings["weights"] != prepared.weights)
        names += ["images or their split"] * (settings["data"]["fingerprint"] != fingerprint(prepared.splits))
        if names and other.path != prepared.directory.path:  # its own changes are told when it is taken up
            what = f"the runs in this folder would differ in more than their seed: {', '.join(names)}"
            raise UserError(what, other, "Undo that, or choose another --out.")


def plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as run.json has them."""
    return dict(json.loads(json.dumps(fields)))


def write(found: Spread) -> None:
    """Write seeds.json. UserError (exit 4) when the disk does not take it."""
    with keeping("seeds.json", found.folder.path):
        write_atomically(found.folder.results, json.dumps(found.to_dict(), indent=2, allow_nan=False) + "\n")
