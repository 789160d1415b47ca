"""From a stream of images to a stream of answers: order kept, a few batches ahead, a broken image in its place."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image

from ignite_vision.data.images import from_pillow, read_image
from ignite_vision.data.preprocessing import Canvas
from ignite_vision.errors import UserError, printable

AHEAD = 2  # batches of images that are begun before they are needed

ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray | torch.Tensor | UserError"
Read: TypeAlias = Callable[[], torch.Tensor]  # -> a canvas (c,S,S) uint8; UserError for a broken image


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the model says of one image.

    path: as it was given; None for an image in memory. probabilities: (C,) float64, calibrated, in the order of
    `Classifier.classes`; None where the image cannot be read: then error says why.
    """

    path: str | None
    probabilities: np.ndarray | None
    error: str | None = None


def answers(
    images: Iterable[ImageLike],
    canvas: Canvas,
    probabilities: Callable[[torch.Tensor], np.ndarray],
    batch: int,
    threads: int,
) -> Iterator[Answer]:
    """Answer for each image, in order. probabilities: (n,c,S,S) uint8 -> (n,C) float64, for n up to batch.

    `threads` decode files while this thread computes; an image in memory becomes a canvas when it is taken from
    `images`, so that its memory may be used again. Two batches are taken ahead, or one image for each thread.
    """
    pool = ThreadPoolExecutor(threads, "predict")
    try:
        begun = (begin(image, canvas, pool) for image in images)
        for part in batches(begun, batch, max(AHEAD * batch, threads + 1)):
            yield from answered(part, probabilities)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def begin(image: ImageLike, canvas: Canvas, pool: ThreadPoolExecutor) -> tuple[str | None, Read]:
    """Return (path, what waits for the canvas). TypeError or ValueError for what is no image at all.

    An error stands for an image that is known not to be readable.
    """
    if isinstance(image, str | os.PathLike):
        path = os.fsdecode(image)
        return path, pool.submit(lambda: on_canvas(read_image(path, canvas.least), canvas)).result
    if isinstance(image, UserError):
        return None if image.path is None else os.fsdecode(image.path), raising(image)
    try:
        made = on_canvas(in_memory(image), canvas).clone()  # not a view of what the caller may change
    except UserError as error:
        return None, raising(error)
    return None, lambda: made


def batches(begun: Iterator[tuple[str | None, Read]], batch: int, most: int) -> Iterator[list[tuple[str | None, Read]]]:
    """Cut into lists of up to `batch`; `most` are begun ahead, and for each that is taken another."""
    ahead = collections.deque(itertools.islice(begun, most))
    while ahead:
        part: list[tuple[str | None, Read]] = []
        while ahead and len(part) < batch:
            path, read = ahead.popleft()
            part.append((path, read))
            ahead.extend(itertools.islice(begun, 1))
        yield part


def answered(
    part: list[tuple[str | None, Read]], probabilities: Callable[[torch.Tensor], np.ndarray]
) -> Iterator[Answer]:
    """Wait for the images of a batch, and answer for all of them in one forward pass."""
    found = [(path, *result_of(read)) for path, read in part]
    readable = [image for _, image, _ in found if image is not None]
    rows = iter(probabilities(torch.stack(readable)) if readable else ())
    for path, image, error in found:
        yield Answer(path, None, error) if image is None else answer_of(path, next(rows))


def answer_of(path: str | None, row: np.ndarray) -> Answer:
    """Return (C,) probabilities as an answer; NaN, as of a model that overflows in fp16, as an error."""
    if np.isfinite(row).all():
        return Answer(path, row)
    return Answer(path, None, "the model's answer is not a number")


def result_of(read: Read) -> tuple[torch.Tensor | None, str | None]:
    """(canvas, None), or (None, why there is none)."""
    try:
        return read(), None
    except UserError as error:
        return None, printable(error.what)


def raising(error: UserError) -> Read:
    """Return a reader of an image that is known to be broken."""

    def read() -> torch.Tensor:
        raise error

    return read


def on_canvas(image: torch.Tensor, canvas: Canvas) -> torch.Tensor:
    """(1,H,W) or (3,H,W) uint8 -> (c,S,S) uint8; grey is repeated for a model of colours."""
    made = canvas(image)
    return made.expand(canvas.preprocessing.channels, -1, -1)


def in_memory(image: ImageLike) -> torch.Tensor:
    """Return (1,H,W) or (3,H,W) uint8 on the CPU. UserError for a file of Pillow's that is broken.

    TypeError for what is neither a Pillow image nor an array nor a tensor, ValueError for one of another type or shape.
    """
    if isinstance(image, Image.Image):
        return from_pillow(image)
    if isinstance(image, np.ndarray):
        ok = image.dtype == np.uint8 and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))
        if not ok or not image.size:
            raise ValueError(f"an array must be uint8 (H,W,3) or (H,W), not {image.dtype} {image.shape}")
        plain = torch.from_numpy(np.array(image, order="C"))
        return plain[None] if image.ndim == 2 else plain.permute(2, 0, 1)
    if isinstance(image, torch.Tensor):
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] not in (1, 3) or not image.numel():
            raise ValueError(f"a tensor must be uint8 (3,H,W) or (1,H,W), not {image.dtype} {tuple(image.shape)}")
        return image.cpu()
    raise TypeError(f"an image must be a path, a Pillow image, an array or a tensor, not {type(image).__name__}")


def refuse_single(images: Iterable[ImageLike]) -> None:
    """TypeError for one image instead of several: its letters or rows would be taken for images."""
    rows = isinstance(images, np.ndarray | torch.Tensor) and images.ndim != 4
    if rows or isinstance(images, str | bytes | os.PathLike | Image.Image):
        raise TypeError("predict takes several images, in a list or an iterator: for one, pass [image]")
