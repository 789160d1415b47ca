"""Heat maps as pictures beside the answers: where in an image its class was seen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch.nn import functional as F

from ignite_vision.data.images import read_image
from ignite_vision.errors import UserError
from ignite_vision.inference.answers import Answer, on_canvas
from ignite_vision.inference.classifier import Classifier
from ignite_vision.inference.heat import heat_layer, heat_maps
from ignite_vision.system.files import expect_writable, replacing

HOT = (255, 40, 0)  # RGB of the hottest place
STRENGTH = 0.65  # of the colour there
MOST_LETTERS = 80  # of a file's name in a picture's


def with_pictures(answers: Iterable[Answer], classifier: Classifier, folder: Path) -> Iterator[Answer]:
    """Draw the most probable class's heat map of each image that goes by into `folder`: NUMBER-NAME.png.

    NUMBER counts the answers, from 1. UserError at once for a network without a map, as vision
    transformers are, and for ONNX.
    OSError when the disk does not take them.
    """
    layer = heat_layer(classifier)
    if layer is None:
        what = f"no heat map can be drawn of this model: {classifier.header['architecture']}"
        raise UserError(what, next_step="Leave out --heatmap; use the run itself if this is ONNX.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write: {error.strerror}", folder, "Choose another place.") from error
    expect_writable(folder / "heat.png")
    return (drawn(answer, classifier, layer, folder, number) for number, answer in enumerate(answers, 1))


def drawn(answer: Answer, classifier: Classifier, layer: str, folder: Path, number: int) -> Answer:
    """Draw one, and return its answer. Of an image that cannot be read nothing is drawn."""
    if answer.path is None or answer.probabilities is None:
        return answer
    try:
        canvas = on_canvas(read_image(answer.path, classifier.canvas.least), classifier.canvas)
    except UserError:  # it was there when it was answered
        return answer
    (heat,) = heat_maps(classifier, canvas[None], [int(answer.probabilities.argmax())], layer)
    with replacing(folder / file_name(answer.path, number)) as temporary:
        picture(canvas, heat).save(temporary, format="PNG")
    return answer


def picture(canvas: torch.Tensor, heat: torch.Tensor | None) -> Image.Image:
    """(c,S,S) uint8 under its heat, (h,w) float32 in [0,1] -> a picture of S x S; without heat the canvas as it is."""
    pixels = canvas.expand(3, -1, -1).float()
    if heat is not None:
        cover = F.interpolate(heat[None, None], canvas.shape[-2:], mode="bilinear")[0].clamp(0, 1) * STRENGTH
        pixels = pixels * (1 - cover) + torch.tensor(HOT).view(3, 1, 1) * cover
    return Image.fromarray(pixels.round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def file_name(path: str, number: int) -> str:
    """`0007-cat.png`: plain letters, whatever the path holds."""
    return f"{number:04}-{re.sub(r'[^A-Za-z0-9._-]', '_', Path(path).stem)[:MOST_LETTERS]}.png"
