"""Kill real trainings again and again, and compare what they end with, byte by byte.

    python -m tests.promises.campaign [--minutes 25] [--kills 300] [--only NAME]

SIGKILL at a random moment: start-up, extraction of features, training, validation, saving, the last evaluation and
publication. The same command is run again at once, until it ends by itself; one of the trainings is extended after
that, one is ended by a handler of its recipe. Real images are read from IGNITE_VISION_TEST_DATA.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

TABLES = Path(__file__).parents[2] / "benchmarks" / "results"
FILES = (
    "splits.csv",
    "history.jsonl",
    "curves.svg",
    "per_class.csv",
    "confusion.csv",
    "coverage.csv",
    "predictions.csv",
    "metrics.json",
    "model.safetensors",
)
TERMINATES = """
\"\"\"Digits, ended by a handler in the middle of an epoch.\"\"\"
import dataclasses
from ignite.engine import Events
from ignite_vision.recipes import digits

def handlers(run):
    @run.trainer.on(Events.ITERATION_COMPLETED(once=410))
    def enough(trainer):
        trainer.terminate()

recipe = dataclasses.replace(digits.recipe, epochs=60, batch_size=32, handlers=handlers)
"""
PHASES = ("start-up or extraction", "training and validation", "in a save", "after the last epoch")
MOST = 40  # kills in one run
EARLY = 0.7  # of the kills; the others are near the end, where results are published
CONTEXT = multiprocessing.get_context("forkserver")  # of a process that has imported torch, but never run it
CONTEXT.set_forkserver_preload(["ignite_vision.jobs", "ignite_vision.prepare", "tensorboardX", "torch._dynamo"])


@dataclasses.dataclass(frozen=True)
class Work:
    """A command, run to its end with each of the last arguments in turn. epochs: of the last of these.

    every: iterations between its saves, at least and at most.
    """

    name: str
    arguments: tuple[str, ...]
    epochs: int
    every: tuple[int, int]
    stages: tuple[tuple[str, ...], ...] = ((),)


@dataclasses.dataclass(frozen=True)
class Tally:
    """Runs that were finished, kills by phase, and how many runs ended with other bytes."""

    runs: int = 0
    kills: Counter[str] = dataclasses.field(default_factory=Counter)
    different: int = 0


def works(data: Path, scratch: Path) -> list[Work]:
    """Real pictures in memory, two heads on features, a folder read by workers, an extended and an ended run."""
    caltech = few_images(data / "caltech256" / "256_ObjectCategories", scratch / "256_ObjectCategories", 24)
    folder = few_images(data / "caltech101_25", scratch / "photos", 10)
    ended = scratch / "ended.py"
    ended.write_text(TERMINATES)
    small = ("model=resnet18", "weights=none", "trainable=all", "image_size=32", "cache=none", "schedule=cosine")
    weights = f"weights={data / 'weights' / 'squeezenet1_0.pth'}"
    return [
        Work(
            "fashion_mnist, 2 epochs of 60,000 pictures in memory",
            (
                "fashion_mnist",
                "--data",
                str(data / "fashion_mnist"),
                "--epochs",
                "2",
                *sets("batch_size=128", "val_fraction=0.5"),
            ),
            2,
            (40, 200),
        ),
        Work(
            "caltech256, 240 photographs, features of squeezenet1_0",
            ("caltech256", "--data", str(caltech), "--epochs", "30", *sets("model=squeezenet1_0", weights)),
            30,
            (3, 50),
        ),
        Work(
            "a folder, 250 photographs, resnet18, 2 workers, no cache",
            ("folder", "--data", str(folder), "--epochs", "2", "--batch-size", "16", "--workers", "2", *sets(*small)),
            2,
            (2, 10),
        ),
        Work(
            "a folder, 250 photographs, logistic regression on features of squeezenet1_0",
            ("folder", "--data", str(folder), *sets("model=squeezenet1_0", weights)),
            20,
            (1, 4),
        ),
        Work(
            "digits, 25 epochs under a cosine, then extended to 40",
            ("digits", *sets("batch_size=32")),
            40,
            (10, 90),
            (("--epochs", "25"), ("--epochs", "40")),
        ),
        Work("digits, ended by a handler within epoch 12", (str(ended),), 12, (10, 90)),
    ]


def sets(*settings: str) -> list[str]:
    """`--set` before each."""
    return [part for setting in settings for part in ("--set", setting)]


def few_images(source: Path, target: Path, most: int) -> Path:
    """Copy the first images of each class."""
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        (target / folder.name).mkdir(parents=True)
        for image in sorted(folder.iterdir())[:most]:
            shutil.copyfile(image, target / folder.name / image.name)
    return target


def command(arguments: list[str], log: str, cache: str) -> None:
    """Be `ignite-vision ARGUMENTS`, in a child."""
    os.environ["XDG_CACHE_HOME"] = cache
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    multiprocessing.set_start_method("fork", force=True)  # of loader workers, as in the command itself
    from ignite_vision import cli

    sys.argv = ["ignite-vision", *arguments]
    cli.main()


def run_once(
    work: Work, stage: tuple[str, ...], out: Path, moment: float | None = None, every: int | None = None
) -> int:
    """Run the command, and kill it after `moment` seconds. Its exit code; -9 if it was killed."""
    saving = [] if every is None else ["--checkpoint-every", str(every)]
    arguments = ["run", *work.arguments, *stage, "--out", str(out), *saving]
    process = CONTEXT.Process(target=command, args=(arguments, f"{out}.log", f"{out}.cache"))
    process.start()
    process.join(moment)
    if process.is_alive():
        process.kill()
    process.join()
    return int(process.exitcode or 0)


def warm_up() -> None:
    """Have the server that children are forked from import torch: it is no part of a run's time."""
    process = CONTEXT.Process(target=int)
    process.start()
    process.join()


def phase(work: Work, out: Path, said: str) -> str:
    """What a killed command was doing, as its directory and what it printed show."""
    if f"\nrun        {out}" not in said:
        return PHASES[0]
    if list(out.glob("checkpoints/.tmp-*")):
        return PHASES[2]
    history = out / "history.jsonl"
    rows = history.read_text().count("\n") if history.exists() else 0
    return PHASES[3] if rows >= work.epochs else PHASES[1]


def differences(out: Path, whole: Path) -> list[str]:
    """Files that are not the uninterrupted run's, byte by byte."""
    newest = [sorted(run.glob("checkpoints/step-*"))[-1].name for run in (out, whole)]
    names = [*FILES, *(f"checkpoints/{newest[1]}/{name}.safetensors" for name in ("model", "best"))]
    return [
        name for name in names if newest[0] != newest[1] or (out / name).read_bytes() != (whole / name).read_bytes()
    ]


def moment(seconds: float, rng: random.Random, kills: Counter[str]) -> float | None:
    """When to kill next, early or near the end; never, once there were many: a busy machine might come to no end."""
    if kills.total() >= MOST:
        return None
    share = rng.random() ** 2
    return seconds * (share if rng.random() < EARLY else 1.05 - share / 2)


def interrupted(work: Work, out: Path, seconds: float, rng: random.Random) -> Counter[str]:
    """Run a command to its end through kills, more of them early than late. Kills by phase."""
    kills: Counter[str] = Counter()
    for stage in work.stages:
        while code := run_once(work, stage, out, moment(seconds, rng, kills), rng.randint(*work.every)):
            log = Path(f"{out}.log")
            said = log.read_text() if log.exists() else ""
            if code != -9:
                raise SystemExit(f"{work.name} ended with {code}: {said[-2000:]}")
            kills[phase(work, out, said)] += 1
            log.unlink(missing_ok=True)
    return kills


def main() -> None:
    """Go round the works until there were enough kills or the time is over; write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="trainings whose name has this")
    options = parser.parse_args()
    data, rng = Path(os.environ["IGNITE_VISION_TEST_DATA"]), random.Random(options.seed)
    end = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory() as scratch:
        table = {work: Tally() for work in works(data, Path(scratch)) if options.only in work.name}
        seconds = {}
        warm_up()
        for work in table:
            begin = time.monotonic()
            for stage in work.stages:
                assert run_once(work, stage, whole_of(work, Path(scratch))) == 0, "the uninterrupted run failed"
            seconds[work] = (time.monotonic() - begin) / len(work.stages)
            print(f"{work.name}: {seconds[work]:.1f} s uninterrupted", flush=True)
        while time.monotonic() < end and sum(row.kills.total() for row in table.values()) < options.kills:
            for work, row in table.items():
                out = Path(scratch) / f"{work.name[:28]}-{row.runs}"
                kills = interrupted(work, out, seconds[work], rng)
                found = differences(out, whole_of(work, Path(scratch)))
                print(f"{work.name}: {kills.total()} kills, {', '.join(found) or 'the same bytes'}", flush=True)
                table[work] = Tally(row.runs + 1, row.kills + kills, row.different + bool(found))
                for path in (out, Path(f"{out}.cache")):
                    shutil.rmtree(path, ignore_errors=True)
        TABLES.joinpath("faults.md").write_text(page(table), encoding="utf-8")
        print(page(table))


def whole_of(work: Work, scratch: Path) -> Path:
    """Where the uninterrupted run of a command is."""
    return scratch / f"{work.name[:28]}-whole"


def page(table: dict[Work, Tally]) -> str:
    """Return the Markdown page."""
    import torch

    from ignite_vision.system import environment
    from ignite_vision.system.device import pick_precision

    facts = environment.record(torch.device("cpu"), pick_precision("auto", torch.device("cpu")))
    versions = ", ".join(f"{name} {facts['versions'][name]}" for name in ("python", "torch", "pytorch-ignite"))
    everything = Tally(
        sum(row.runs for row in table.values()),
        sum((row.kills for row in table.values()), Counter[str]()),
        sum(row.different for row in table.values()),
    )
    rows = [line(work.name, row) for work, row in table.items()] + [line("**all**", everything)]
    return "\n".join(
        [
            f"# Kills: {facts['processor']}, {facts['threads']} thread(s), {datetime.date.today()}",
            "",
            f"`python -m tests.promises.campaign` · {versions}, {facts['precision']}",
            "SIGKILL at random moments of real trainings, the same command again at once, until it ends by itself; a",
            "difference is a run whose history, results, model or newest checkpoint has one byte other than the",
            "uninterrupted run's.",
            "",
            f"| training | runs | kills | {' | '.join(PHASES)} | differences |",
            "|---|---|---|" + "---|" * len(PHASES) + "---|",
            *rows,
            "",
        ]
    )


def line(name: str, row: Tally) -> str:
    """One line of the table."""
    phases = " | ".join(str(row.kills[p]) for p in PHASES)
    return f"| {name} | {row.runs} | {row.kills.total()} | {phases} | {row.different} |"


if __name__ == "__main__":
    main()
