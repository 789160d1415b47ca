"""`predict`: the classes of images, by a trained model."""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ignite_vision.cli.console import say
from ignite_vision.cli.options import PATH, device
from ignite_vision.errors import NOT_SAVED, UserError

if TYPE_CHECKING:
    from ignite_vision.inference.answers import Answer
    from ignite_vision.inference.classifier import Classifier

FORMATS = ("table", "csv", "json", "jsonl")
FORMAT = "[default: by the suffix of --out; else a table on a terminal, csv otherwise]"

SLOW = "warning: this processor has no bf16 and is many times slower in it. --precision fp32 has other last digits"


class Probability(click.FloatRange):
    """A number from 0 to 1: click lets NaN through, which is neither below nor above."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number. BadParameter for anything else."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"'{value}' is not in the range 0<=x<=1.", param, ctx)
        return number


@click.command()
@click.argument("model", type=PATH)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--format", "form", type=click.Choice(FORMATS), help=f"How answers are written.  {FORMAT}")
@click.option(
    "--top", type=click.IntRange(1), metavar="K", default=1, show_default=True, help="Classes for each image."
)
@click.option("--out", type=PATH, metavar="FILE", help="Write to this file, once all answers are there.")
@click.option(
    "--abstain-below",
    type=Probability(),
    metavar="P",
    help="Answer `unknown` below this probability; 0: never.  [default: the model's own]",
)
@device
@click.option("--precision", metavar="NAME", help="auto, fp32, bf16 or fp16.  [default: that of the training]")
@click.option("--heatmap", type=PATH, metavar="DIR", help="Draw into DIR where each image's class was seen.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads that decode images.")
def predict(
    model: Path,
    paths: tuple[str, ...],
    form: str | None,
    top: int,
    out: Path | None,
    abstain_below: float | None,
    device: str,
    precision: str | None,
    heatmap: Path | None,
    threads: int | None,
) -> None:
    """Say of which class images are.

    MODEL is a run directory, its model.safetensors, or an ONNX file of `export`. PATH is an image, a folder of images,
    a pattern in quotes, or - for a list of paths on stdin. Answers come in order, while images are read; one that
    cannot be read has its error in its place, and the exit code is 2 then.
    """
    from ignite_vision.inference.classifier import Classifier
    from ignite_vision.inference.sources import bursts
    from ignite_vision.inference.tables import FORMATS, row_of
    from ignite_vision.run_directory import RunDirectory
    from ignite_vision.system.device import has_bf16
    from ignite_vision.system.process import ready_to_compute
    from ignite_vision.system.signals import leave_on_signals

    leave_on_signals("")
    ready_to_compute()
    if out is not None:
        refuse_place(out, (model, RunDirectory(model).model, *paths))
    classifier = Classifier.load(model, precision=precision, device=device)
    threshold = classifier.abstain_below if abstain_below is None else abstain_below
    say(describe(classifier, threshold))
    if classifier.precision == "bf16" and not has_bf16(classifier.device):
        say(SLOW)
    counts = Counts()
    parts = bursts(paths)
    answers: Iterator[Answer] = itertools.chain.from_iterable(classifier.predict(part, threads) for part in parts)
    if heatmap is not None:
        from ignite_vision.inference.pictures import with_pictures

        answers = with_pictures(answers, classifier, heatmap)
    counted = counts.of(refuse_none(answers, paths))
    rows = (row_of(answer, classifier.classes, top, threshold) for answer in counted)
    lines = FORMATS[form or form_for(out)](rows, classifier.classes, top)
    with contextlib.nullcontext(to_stdout) if out is None else into(out) as write:
        for line in lines:
            write(line.encode("utf-8", "surrogateescape"))
    counts.refuse_broken(out)


def describe(classifier: Classifier, threshold: float | None) -> str:
    """Say what answers: the network, its precision, and how sure it has to be."""
    header = classifier.header
    words = [f"{header['architecture']}, {len(classifier.classes)} classes"]
    words.append(f"{classifier.precision} on {classifier.device}")
    if classifier.precision != header["precision"]:
        words[-1] += f" (the training computed in {header['precision']}: other last digits)"
    words.append("not calibrated" if classifier.temperature == 1 else f"temperature {classifier.temperature:.3g}")
    if threshold:
        words.append(f"unknown below {threshold:.4g}")
    return f"model      {', '.join(words)}"


def form_for(out: Path | None) -> str:
    """Return the format by a file's suffix, or by where stdout leads."""
    if out is not None:
        suffix = out.suffix.lower().removeprefix(".")
        return suffix if suffix in FORMATS else "csv"
    return "table" if sys.stdout.isatty() else "csv"


class Counts:
    """How many answers went by, and how many of them were errors."""

    def __init__(self) -> None:
        self.all = self.broken = 0

    def of(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        """Count answers that go by."""
        for answer in answers:
            self.all += 1
            self.broken += answer.error is not None
            yield answer

    def refuse_broken(self, out: Path | None) -> None:
        """UserError if images could not be read: all others have their answers."""
        if self.broken:
            what = f"{self.broken:,} of {self.all:,} images cannot be read"
            raise UserError(what, out, "Their rows say why.")


def refuse_none(answers: Iterator[Answer], paths: tuple[str, ...]) -> Iterator[Answer]:
    """UserError if there is no image at all, before anything is written."""
    for first in answers:
        return itertools.chain([first], answers)
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    hint = "Pass images, folders with images, or - and a list on stdin."
    raise UserError(f"no images found{more}", "stdin" if paths[0] == "-" else paths[0], hint)


def to_stdout(data: bytes) -> None:
    """Write and flush. OSError for a disk that is full; quietly no more once the reader is gone (`| head`)."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    lost = getattr(getattr(sys.stdout.buffer, "raw", None), "lost", None)
    if lost is not None and lost.errno == errno.EPIPE:
        raise click.exceptions.Exit(0)
    if lost is not None:
        hint = "Free some space and repeat the command."
        raise UserError(f"cannot write to stdout: {lost.strerror}", next_step=hint, code=NOT_SAVED)


def refuse_place(out: Path, read: Iterable[Path | str]) -> None:
    """UserError if there can be no file of answers, or if it would replace an image or what is read."""
    from ignite_vision.data.images import IMAGE_EXTENSIONS
    from ignite_vision.system.files import expect_writable

    if out.is_dir() or not out.parent.is_dir():
        what = "--out is a folder" if out.is_dir() else "the folder of --out is not there"
        raise UserError(what, out, "Pass a file to write to.")
    if out.suffix.lower() in IMAGE_EXTENSIONS:
        raise UserError("--out is called like an image, and answers are text", out, "Choose another --out.")
    if not out.exists() or out.is_file():
        expect_writable(out.resolve())
    for path in read:
        with contextlib.suppress(OSError, ValueError):  # not there, a pattern, or no name at all
            if out.samefile(path):
                raise UserError("--out would replace what is read", out, "Choose another --out.")


@contextlib.contextmanager
def into(out: Path) -> Iterator[Callable[[bytes], object]]:
    """Within, write to what becomes the file at the end, in one step; nothing of it stays otherwise.

    A pipe or a device is written as the answers come. Through a link, the file that it leads to is replaced.
    """
    from ignite_vision.system.files import replacing
    from ignite_vision.system.signals import leave_on_signals

    if out.exists() and not out.is_file():
        with contextlib.suppress(BrokenPipeError), out.open("wb") as file:  # its reader wants no more
            yield file.write
        return
    with replacing(out.resolve()) as temporary:
        leave_on_signals(f"{out} is as it was.", lambda: remove(temporary))
        with temporary.open("wb") as file:
            yield file.write


def remove(path: Path) -> None:
    """Delete a file, if it can be."""
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108  (in the handler of a signal: nothing that is not needed)
