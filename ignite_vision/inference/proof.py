"""Every export proves itself: what the file answers, beside what our own predictor says in fp32."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from ignite_vision.errors import DAMAGED, UserError
from ignite_vision.inference.answers import in_memory, on_canvas
from ignite_vision.inference.classifier import Classifier
from ignite_vision.inference.onnx_model import Ask, batch_of
from ignite_vision.inference.source import Source

MOST = 256  # test images
DRAWN = 32  # images where there are none of the run's
SIDES = (1, 7, 31, 64, 200, 257, 333)  # pixels of theirs
TOLERANCE = 1e-4  # of a probability in fp32, at the fitted temperature
LOST = 0.01  # of the accuracy, or FEW images, that fp16 and int8 may lose
FEW = 2
CLEAR = 0.1  # lead of a class over the next, where no one knows which is right: such a decision counts as right


@dataclasses.dataclass(frozen=True)
class Proof:
    """What came of `images` pictures, called `of`. difference: the largest of a probability. changed: decisions.

    clear: those of them that were certain beyond the tolerance. lost: images that were right and are wrong now, less
    those the other way round. accuracy: of the file, before: of ours; None for drawn images. milliseconds: the median
    from pixels to probabilities, decoding not included; milliseconds_before: of ours in fp32. bytes: of the file.
    """

    of: str
    images: int
    difference: float
    changed: int
    clear: int
    lost: int
    accuracy: float | None
    before: float | None
    milliseconds: float
    milliseconds_before: float
    bytes: int

    def failure(self, precision: str) -> str | None:
        """Why the file may not be kept; None if it may."""
        if not np.isfinite(self.difference):
            return "it answers with numbers that are not finite"
        if precision == "fp32":
            failed = self.difference > TOLERANCE or self.clear > 0
            allowed = f"allowed {TOLERANCE:g}, and no decision"
        else:
            failed = self.lost > max(FEW, LOST * self.images)
            allowed = f"{self.lost} images lost, allowed {max(FEW, int(LOST * self.images))}"
        said = f"on {self.images} {self.of} probabilities differ by {self.difference:.2g} and {self.changed} decisions"
        return f"{said} ({allowed})" if failed else None


def prove(source: Source, ask: Ask, file: Path, precision: str) -> Proof:
    """Compare a file's answers with ours. UserError (exit 3) if they are not the model's."""
    images = source.images("test", MOST)
    kind = "images drawn at random" if images is None else "test images"
    pictures = drawn(source.classifier) if images is None else (images[i][0] for i in range(len(images)))
    ours, theirs, milliseconds, before = _answers(source.classifier, ask, pictures)
    proof = compared(kind, ours, theirs, None if images is None else images.targets.numpy(), milliseconds, before, file)
    if failure := proof.failure(precision):
        raise UserError(f"the export is not the model: {failure}", None, "Nothing was kept.", DAMAGED)
    return proof


def _answers(
    classifier: Classifier, ask: Ask, pictures: Iterable[torch.Tensor]
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """((N,C) of ours, (N,C) of the file, milliseconds an image of the file, of ours)."""
    ours: list[np.ndarray] = []
    theirs: list[np.ndarray] = []
    times: list[float] = []
    before: list[float] = []
    for picture in pictures:
        pixels = batch_of(picture)
        begin = time.perf_counter()
        theirs.append(ask(pixels)[0])
        middle = time.perf_counter()
        ours.append(classifier.probabilities(on_canvas(in_memory(picture), classifier.canvas)[None], (1,))[0])
        before.append(time.perf_counter() - middle)
        times.append(middle - begin)
    spent = [1e3 * statistics.median(each) for each in (times, before)]
    return np.array(ours), np.array(theirs, dtype=np.float64), spent[0], spent[1]


def compared(
    of: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    targets: np.ndarray | None,
    milliseconds: float,
    before: float,
    file: Path,
) -> Proof:
    """Return the numbers of two tables of probabilities, (N,C) float64. targets: (N,) int64; None where unknown."""
    labels, found = ours.argmax(1), theirs.argmax(1)
    ordered = np.sort(ours, 1)
    lead = ordered[:, -1] - ordered[:, -2:-1].sum(1)  # of a single class there is no other
    other = labels != found
    if targets is None:
        lost = int((other & (lead > CLEAR)).sum())
    else:
        lost = int((labels == targets).sum() - (found == targets).sum())
    return Proof(
        of=of,
        images=len(ours),
        difference=float(np.abs(ours - theirs).max()),
        changed=int(other.sum()),
        clear=int((other & (lead > TOLERANCE)).sum()),
        lost=lost,
        accuracy=None if targets is None else float((found == targets).mean()),
        before=None if targets is None else float((labels == targets).mean()),
        milliseconds=milliseconds,
        milliseconds_before=before,
        bytes=file.stat().st_size,
    )


def drawn(classifier: Classifier) -> Iterator[torch.Tensor]:
    """Seeded pictures of odd sizes, (3,H,W) uint8: noise over patches of colour, so that decisions differ."""
    generator = torch.Generator().manual_seed(0)
    sides = (*SIDES, classifier.preprocessing.crop, classifier.preprocessing.resize)
    for _ in range(DRAWN):
        height, width = (sides[int(torch.randint(len(sides), (), generator=generator))] for _ in range(2))
        patches = torch.randint(0, 256, (1, 3, 4, 4), generator=generator).float()
        smooth = torch.nn.functional.interpolate(patches, (height, width), mode="bilinear")[0]
        noise = 40 * torch.randn(3, height, width, generator=generator)
        yield (smooth + noise).clamp(0, 255).to(torch.uint8)
