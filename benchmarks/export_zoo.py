"""Which classifiers export, and how closely: the table of docs/export.md.

    python -m benchmarks.export_zoo [NAME ...]

Random weights with statistics of BatchNorm, ten classes, each network's own preprocessing. Needs no network. A row that
was found before stays until its model is measured again.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision import models as zoo

from ignite_vision import models
from ignite_vision.data.preprocessing import Preprocessing, canvas, normalize
from ignite_vision.errors import UserError
from ignite_vision.inference.onnx_file import write_onnx
from ignite_vision.inference.onnx_model import batch_of, session
from ignite_vision.inference.portable import Portable
from ignite_vision.models.families import torchvision
from ignite_vision.models.head import find_head
from ignite_vision.system.process import resume_garbage_collection

PAGE = Path(__file__).parents[1] / "docs" / "export.md"
BEGIN, END = "<!-- by benchmarks/export_zoo.py -->\n", "<!-- end -->"
HEAD = "| model | size, interpolation | export | MB | dP | decisions changed |\n|---|---|---|---|---|---|\n"
SIZES = ((208, 302), (375, 500), (1, 1), (224, 224), (257, 41), (700, 333), (64, 64), (30, 400))
CLASSES = 10
OTHERS = ("timm:tf_efficientnet_lite0",)  # one family more; what is named is measured, whatever it is


def everything() -> list[str]:
    """All of torchvision's classifiers, the smallest first, and OTHERS."""
    size = {name: zoo.get_model_weights(name).DEFAULT.meta["num_params"] for name in torchvision.names()}
    return [*OTHERS, *sorted(size, key=size.__getitem__)]


def preprocessing_of(name: str) -> Preprocessing:
    """Return what the network's published weights were trained for; 224 pixels where nobody knows."""
    plain = Preprocessing(channels=3, resize=256, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    return models.weights_preprocessing(name, "DEFAULT") or plain


def lively(name: str, plan: Preprocessing, images: list[torch.Tensor]) -> nn.Module:
    """Return the network with statistics of its own, and a head whose answers differ from image to image."""
    torch.manual_seed(0)
    network = models.build(name, CLASSES, image_size=plan.crop)
    pixels = normalize(torch.stack([canvas(image, plan, plan.crop) for image in images]), plan)
    for module in network.modules():
        if hasattr(module, "momentum"):
            setattr(module, "momentum", 1.0)  # noqa: B010  (mypy knows a module's tensors alone)
    with torch.no_grad():
        network.train()(pixels)
        network.eval()
        head: Any = find_head(network)[1]
        if network(pixels).std() == 0:  # a vision transformer's head is zero at first
            nn.init.normal_(head.weight, std=0.02)
        scale = 2 / network(pixels).std()
        head.weight.mul_(scale)
        if head.bias is not None:
            head.bias.mul_(scale)
    return network


@dataclasses.dataclass(frozen=True)
class Found:
    """Of one network: pixels per side, interpolation, seconds of a processor, megabytes, and how its answers differ."""

    size: int
    interpolation: str
    seconds: float
    megabytes: float
    difference: float
    changed: int

    def line(self, name: str) -> str:
        """Return the line of the table."""
        how = f"{self.size}, {self.interpolation} | {self.seconds:.0f} s | {self.megabytes:.1f}"
        return f"| {name} | {how} | {self.difference:.1e} | {self.changed} of {len(SIZES)} |\n"


def compared(name: str) -> Found:
    """Export one network, and compare its answers with torch's."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in SIZES]
    plan = preprocessing_of(name)
    network = lively(name, plan, images)
    with torch.inference_mode():
        alone = [network(normalize(canvas(image, plan, plan.crop)[None], plan)) for image in images]
    ours = torch.cat(alone).double().softmax(1).numpy()
    with tempfile.TemporaryDirectory() as scratch:
        file, begin = Path(scratch) / "model.onnx", time.process_time()
        write_onnx(Portable(network, plan, 1.0), file, {})
        spent, ask = time.process_time() - begin, session(file)
        theirs = np.concatenate([ask(batch_of(image)) for image in images])
        thrice = ask(np.concatenate([batch_of(images[0])] * 3))
        size = file.stat().st_size / 1e6
    apart = max(np.abs(ours - theirs).max(), np.abs(thrice - theirs[0]).max())
    changed = int((ours.argmax(1) != theirs.argmax(1)).sum())
    return Found(plan.crop, plan.interpolation, spent, size, float(apart), changed)


def write(name: str, line: str) -> None:
    """Put a row into the page, in place of an older one of its name; rows stand in the order of their names."""
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END, 1)[1]
    table = text.split(BEGIN)[1].split(END)[0].removeprefix(HEAD)
    lines = {row.split("|")[1].strip(): row for row in table.splitlines(keepends=True)} | {name: line}
    PAGE.write_text(
        before + BEGIN + HEAD + "".join(lines[key] for key in sorted(lines)) + END + after, encoding="utf-8"
    )


def main() -> None:
    """Measure the models that are named, or everything, and write the page after each."""
    resume_garbage_collection()
    for name in sys.argv[1:] or everything():
        try:
            line = compared(name).line(name)
        except UserError as error:
            line = f"| {name} | not exported: {error.what} | | | | |\n"
        print(line, end="", flush=True)
        write(name, line)


if __name__ == "__main__":
    main()
