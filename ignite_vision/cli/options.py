"""Options that several commands share, and how they become what the package takes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ignite_vision.errors import UserError

if TYPE_CHECKING:
    from ignite_vision.prepare import Options

NPROC = "Number of processes on this machine, one per GPU."
KEEP = "Number of newest checkpoints to keep."
EVERY = "Save every N iterations.  [default: as often as costs 1 % of the time]"
TIME = "Plan as many epochs as fit into this time with the evaluation, at most the recipe's: 90s, 10m, 1h30m."
SET = "Set a field of the recipe (`ignite-vision show RECIPE` lists them); repeatable."
SEEDS = "Train under N seeds, or under these, on one split: mean and spread. A run each, in OUT/seed-N."
CHOICES = (
    "data",
    "out",
    "device",
    "workers",
    "checkpoint_every",
    "keep_checkpoints",
    "verify_data",
    "deterministic",
    "budget",
)
DATA = "Where the data set is, or a folder with a subfolder per class, or a manifest (.csv, .jsonl, .parquet)."
GROUP_BY = (
    "Keep together in every split: a column of the manifest, `parent` (folder), or a regular expression on paths."
)
CLASSES = "Train on these classes alone."
EXCLUDE = "Leave these classes out."
PATH = click.Path(path_type=Path)


class Duration(click.ParamType):
    """A time as people write it, in seconds."""

    name = "duration"
    pattern = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds of `90`, `90s`, `10m` or `1h30m`. BadParameter for anything else, and for nothing."""
        text = str(value).strip().lower()
        text += "s" * text.replace(".", "").isdecimal()  # a bare number alone: whether 1h30 means minutes nobody knows
        found = self.pattern.fullmatch(text) if text.isascii() else None
        hours, minutes, seconds = (float(part or 0) for part in found.groups()) if found else (0.0, 0.0, 0.0)
        total = 3600 * hours + 60 * minutes + seconds
        if not 0 < total < 1e8:
            self.fail(f"'{value}' is no time; write 90s, 10m or 1h30m.", param, ctx)
        return total


class Seeds(click.ParamType):
    """Several seeds: how many, from 0 on, or which."""

    name = "seeds"
    most = 100

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the seeds of `3` or `0,1,2`: two to a hundred different ones. BadParameter for anything else."""
        words = [word.strip() for word in str(value).split(",")]
        if not all(word.isascii() and word.isdecimal() and len(word) <= 18 for word in words):
            self.fail(f"'{value}' is no number of seeds, nor a list; write 3, or 0,1,2.", param, ctx)
        numbers = [int(word) for word in words]
        seeds = tuple(numbers) if len(numbers) > 1 else tuple(range(min(numbers[0], self.most + 1)))
        if len(seeds) != len(set(seeds)):
            self.fail(f"'{value}' names a seed twice.", param, ctx)
        if len(seeds) < 2:
            self.fail("one seed has no spread; write 2 or more, or --seed N for a single run.", param, ctx)
        if len(seeds) > self.most:
            self.fail(f"{value} are more than {self.most} seeds; write --seed N for a single run.", param, ctx)
        return seeds


device = click.option("--device", metavar="NAME", default="auto", show_default=True, help="cpu, cuda, cuda:1 or auto.")
workers = click.option("--workers", type=click.IntRange(0), metavar="N", help="Number of processes that decode images.")
nproc_per_node = click.option("--nproc-per-node", type=click.IntRange(1), metavar="N", help=NPROC)


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of `run` and `resume` that change no result."""
    for option in (
        nproc_per_node,
        click.option("--checkpoint-every", type=click.IntRange(1), metavar="N", help=EVERY),
        click.option(
            "--keep-checkpoints", type=click.IntRange(1), metavar="N", default=2, show_default=True, help=KEEP
        ),
        click.option(
            "--verify-data", is_flag=True, help="Hash every file, to notice one replaced by another of its size."
        ),
        click.option("--deterministic", is_flag=True, help="Use deterministic GPU kernels where there are any."),
    ):
        command = option(command)
    return command


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that every recipe shares."""
    seed = "Seed for weights, order and augmentation (not for the split)."
    for option in reversed(
        (
            click.option("--data", type=PATH, help=DATA),
            click.option("--out", type=PATH, help="Run directory.  [default: runs/RECIPE-HASH]"),
            click.option(
                "--epochs", type=click.IntRange(1), metavar="N", help="Number of passes over the training images."
            ),
            click.option("--time", "budget", type=Duration(), metavar="TIME", help=TIME),
            click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Images per optimizer step."),
            device,
            workers,
            click.option("--seed", type=int, metavar="N", help=seed),
            click.option("--seeds", type=Seeds(), metavar="N|A,B,C", help=SEEDS),
            click.option("--classes", metavar="A,B,C", help=CLASSES),
            click.option("--exclude", metavar="A,B", help=EXCLUDE),
            click.option("--group-by", metavar="COLUMN|parent|REGEX", help=GROUP_BY),
            click.option("--precision", metavar="NAME", help="auto, fp32, bf16 or fp16."),
            click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help=SET),
        )
    ):
        command = option(command)
    return command


def options_of(**values: Any) -> Options:
    """The options of a command as `prepare` takes them."""
    began = time.monotonic()  # before torch is imported, which takes seconds
    from ignite_vision.prepare import Options

    return Options(**values, began=began)


def overrides_of(settings: tuple[str, ...], flags: dict[str, Any]) -> dict[str, str]:
    """`--set a=b` and the flags that stand for fields -> field: text; a flag wins over --set."""
    found = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set needs FIELD=VALUE, not '{setting}'", next_step="For example --set lr=0.01.")
        found[name.replace("-", "_")] = value
    return found | {name: str(value) for name, value in flags.items() if value is not None}
