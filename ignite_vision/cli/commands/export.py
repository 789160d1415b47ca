"""`export`: a trained model as a file for other programs."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import click

from ignite_vision.cli.console import say
from ignite_vision.cli.options import PATH

if TYPE_CHECKING:
    from pathlib import Path

    from ignite_vision.inference.export import Exported

FIVE_LINES = """\
import json, numpy as np, onnxruntime as ort; from PIL import Image, ImageOps
model = ort.InferenceSession({file!r})
classes = json.loads(model.get_modelmeta().custom_metadata_map["ignite_vision"])["classes"]
image = np.asarray(ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB"))
probabilities = model.run(None, {{"images": image[None]}})[0][0]
print(classes[probabilities.argmax()], probabilities.max())"""
THREE_LINES = """\
import torch, torchvision.io as io
model = torch.export.load({file!r}).module()
print(model(io.decode_image("photo.jpg", "RGB", apply_exif_orientation=True).permute(1, 2, 0)[None]))"""
LOADING = 'from ignite_vision import Classifier\nprint(next(Classifier.load({file!r}).predict(["photo.jpg"])))'
USES = {"onnx": FIVE_LINES, "pt2": THREE_LINES, "safetensors": LOADING}
FORMAT = "onnx is for onnxruntime; pt2 needs torch and no code of yours; safetensors copies the model file."


@click.command()
@click.argument("model", metavar="RUN|MODEL", type=PATH)
@click.option("--format", type=click.Choice(list(USES)), default="onnx", show_default=True, help=FORMAT)
@click.option("--out", type=PATH, metavar="FILE", help="Where to.  [default: model.FORMAT beside the model]")
@click.option(
    "--precision", type=click.Choice(["fp32", "fp16"]), default="fp32", show_default=True, help="Of the file."
)
@click.option("--quantize", type=click.Choice(["int8"]), help="Compute in 8-bit integers: a third of the size.")
@click.option("--data", type=PATH, help="Where the run's images are now.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def export(quantize: str | None, **options: Any) -> None:
    """Write a trained model as one file with everything inside.

    RUN is a run directory or a model.safetensors.

    Images of any size go in, calibrated probabilities come out. The file is compared with the model on the run's test
    images first, and is only kept if it says the same.
    """
    from ignite_vision.inference.export import Request
    from ignite_vision.inference.export import export as write
    from ignite_vision.inference.onnx_file import require_onnx
    from ignite_vision.system.process import ready_to_compute

    ready_to_compute()
    if options["format"] == "onnx":
        require_onnx()
    say("exporting, which takes about a minute ...")
    done = write(Request(int8=quantize == "int8", **options), leave_nothing)
    for line in report(done):
        click.echo(line)
    say(f"\nUse it:\n\n{USES[done.path.suffix[1:]].format(file=str(done.path))}")


def leave_nothing(temporary: Path) -> None:
    """From now on a signal that ends the command removes what it has begun to write."""
    from ignite_vision.inference.export import scratch_of
    from ignite_vision.system.signals import leave_on_signals

    def clean() -> None:
        with contextlib.suppress(OSError):
            temporary.unlink()
        shutil.rmtree(scratch_of(temporary), ignore_errors=True)

    leave_on_signals("Nothing was written.", clean)


def report(done: Exported) -> list[str]:
    """What was written and how it was proven, as lines of a table."""
    proof = done.proof
    if proof is None:
        return [f"{'file':<12} {done.path}", f"{'proof':<12} the same bytes, and every hash in them holds"]
    rows = {
        "file": f"{done.path} · {done.computes} · {proof.bytes / 1e6:.1f} MB",
        "proof": f"{proof.images} {proof.of}: probabilities differ by {proof.difference:.1e} at most, "
        f"{proof.changed} decision{'s' * (proof.changed != 1)} changed",
        "accuracy": None
        if proof.accuracy is None
        else f"{proof.accuracy:.4f}, of the model in fp32 {proof.before:.4f}",
        "time": f"{proof.milliseconds:.1f} ms an image, of the model in fp32 {proof.milliseconds_before:.1f}",
    }
    return [f"{name:<12} {text}" for name, text in rows.items() if text] + [f"{'':<12} {note}" for note in done.notes]
