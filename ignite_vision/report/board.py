"""Results for TensorBoard: the confusion and some predictions as pictures, hyperparameters with what came of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from ignite_vision.data.containers import Container
from ignite_vision.evaluation.counts import confusion_matrix
from ignite_vision.evaluation.predictions import Predictions
from ignite_vision.report.thumbnails import thumbnail
from ignite_vision.training.tensorboard import Scalars

SIDE = 600  # pixels of the confusion, about
NAMED = 30  # classes; of more the names would not be read
NAME, LETTERS = 110, 16  # pixels for a name, and letters in it
SAMPLES, ACROSS, TILE, LINE = 16, 4, 128, 14  # pictures, in a row, pixels of each, and of a line below it
RIGHT, WRONG, INK, PAPER = (37, 99, 201), (210, 70, 25), (23, 27, 34), (255, 255, 255)
RESULTS = ("accuracy", "balanced_accuracy", "macro_f1", "loss")


def write_for_tensorboard(
    folder: Path,
    epochs: int,
    predictions: Predictions,
    images: Container,
    numbers: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Write the results of a run after its last epoch. folder: of event files. numbers: metrics.json. settings: fields.

    OSError when the disk does not take them, ModuleNotFoundError without tensorboardX.
    """
    board = Scalars(folder, epochs + 1)  # those of an earlier end are hidden, and these when it trains longer
    try:
        board.write_picture("test/confusion", confusion_picture(predictions), epochs + 1)
        board.write_picture("test/predictions", samples_picture(predictions, images), epochs + 1)
        found = {f"test/{name}": float(numbers[name]) for name in RESULTS if numbers.get(name) is not None}
        board.write_settings({name: plain(value) for name, value in settings.items()}, found, epochs + 1)
    finally:
        board.close()


def plain(value: Any) -> str | float | bool:
    """Return what TensorBoard takes: numbers, truth values and texts as they are, anything else as JSON."""
    return value if isinstance(value, str | int | float) else json.dumps(value)


def confusion_picture(predictions: Predictions) -> np.ndarray:
    """(H,W,3) uint8: a row for each true class, a column for what it was taken for; full colour is all of the class."""
    classes, counts = len(predictions.classes), confusion_matrix(predictions)
    share = np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1))[..., None]
    colour = np.where(np.eye(classes, dtype=bool)[..., None], RIGHT, WRONG)
    points = (np.array(PAPER) * (1 - share) + colour * share).round().astype(np.uint8)
    cell = max(1, SIDE // classes)
    whole = np.kron(points, np.ones((cell, cell, 1), np.uint8))
    return whole if classes > NAMED else _with_names(whole, predictions.classes, cell)


def _with_names(cells: np.ndarray, names: tuple[str, ...], cell: int) -> np.ndarray:
    side = len(cells)
    whole = Image.new("RGB", (side + NAME, side + NAME), PAPER)
    whole.paste(Image.fromarray(cells), (NAME, NAME))
    for k, name in enumerate(names):
        place = NAME + round((k + 0.5) * cell) - LINE // 2
        strip = Image.new("RGB", (NAME, LINE), PAPER)
        ImageDraw.Draw(strip).text((4, 0), _printed(name), INK)
        whole.paste(strip, (0, place))
        whole.paste(strip.rotate(90, expand=True), (place, 0))
    return np.asarray(whole)


def samples_picture(predictions: Predictions, images: Container) -> np.ndarray:
    """(H,W,3) uint8: 16 images spread over the split, with what they are and what they were taken for."""
    n = len(predictions.targets)
    places = np.unique(np.linspace(0, n - 1, min(SAMPLES, n)).round().astype(int)).tolist()
    rows = -(-len(places) // ACROSS)
    whole = Image.new("RGB", (ACROSS * TILE, rows * (TILE + 2 * LINE)), PAPER)
    draw = ImageDraw.Draw(whole)
    confidence = predictions.probabilities.max(1).values
    for k, i in enumerate(places):
        x, y = k % ACROSS * TILE, k // ACROSS * (TILE + 2 * LINE)
        whole.paste(_tile(images[i][0]), (x, y))
        true, label = predictions.classes[predictions.targets[i]], predictions.classes[predictions.labels[i]]
        draw.text((x + 2, y + TILE), _printed(true), INK)
        said = f"{_printed(label)} {confidence[i]:.0%}"
        draw.text((x + 2, y + TILE + LINE), said, RIGHT if true == label else WRONG)
    return np.asarray(whole)


def _tile(image: torch.Tensor) -> Image.Image:
    picture = thumbnail(image, TILE)
    scale = TILE / max(picture.size)
    size = tuple(max(1, round(scale * side)) for side in picture.size)
    resample = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.BILINEAR
    tile = Image.new("RGB", (TILE, TILE), PAPER)
    tile.paste(picture.resize((size[0], size[1]), resample), ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile


def _printed(name: str) -> str:
    """A name in letters that every font has."""
    short = name if len(name) <= LETTERS else name[: LETTERS - 2] + ".."
    return short.encode("latin-1", "replace").decode("latin-1")
