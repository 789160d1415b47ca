"""`benchmark`: how fast models answer on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ignite_vision.cli.options import PATH, device
from ignite_vision.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 1024  # images of a batch: 0.6 GB of pixels


@click.command()
@click.argument("models", metavar="MODEL...", type=PATH, nargs=-1, required=True)
@click.option("--batch-sizes", metavar="N,N", default="1,16", show_default=True, help="Images of a call.")
@click.option("--precision", metavar="NAME", help="Of a RUN: auto, fp32, bf16 or fp16.  [default: the run's own]")
@device
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each row.")
def benchmark(models: tuple[Path, ...], batch_sizes: str, precision: str | None, device: str, as_json: bool) -> None:
    """Measure latency and throughput of models.

    MODEL is a run, a model.safetensors or an ONNX file.

    From pixels of 375x500 to probabilities: resizing included, decoding not.
    """
    sizes = sizes_of(batch_sizes)
    row = "{model:<{width}}  {runtime:<6}  {precision:<9}  {batch:>5}  {ms:>9}  {most:>9}  {rate:>8}"
    width = max(len("model"), *(len(str(model)) for model in models))
    for number, found in enumerate(rows(models, sizes, precision, device)):
        if as_json:
            click.echo(json.dumps(found))
            continue
        if number == 0:
            names = {"model": "model", "runtime": "by", "precision": "precision", "batch": "batch"}
            click.echo(row.format(**names, ms="ms", most="95 % ms", rate="images/s", width=width))
        numbers = {"ms": f"{found['milliseconds']:.1f}", "most": f"{found['p95']:.1f}"}
        click.echo(row.format(**found, **numbers, rate=f"{found['images_per_second']:.1f}", width=width))


def sizes_of(text: str) -> list[int]:
    """`1,16` -> [1, 16]. UserError for anything but numbers from 1 to 1024."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= 4 and 1 <= int(part) <= MOST for part in parts):
        hint = f"For example --batch-sizes 1,16; each from 1 to {MOST}."
        raise UserError(f"--batch-sizes are numbers with commas, not '{text}'", next_step=hint)
    return [int(part) for part in parts]


def rows(models: tuple[Path, ...], sizes: list[int], precision: str | None, device: str) -> Iterator[dict[str, object]]:
    """Measure each model at each batch size. Rows that JSON takes."""
    import dataclasses

    from ignite_vision.inference.classifier import Classifier
    from ignite_vision.inference.speed import speed
    from ignite_vision.system.process import ready_to_compute

    ready_to_compute()
    for model in models:
        classifier = Classifier.load(model, precision=precision, device=device)
        what = {"model": str(model), "runtime": classifier.runtime, "precision": classifier.precision}
        for size in sizes:
            yield {**what, "device": classifier.device.type, **dataclasses.asdict(speed(classifier, size))}
