"""From the bytes of a file to an answer: decoded in a few threads, computed in one, and only so many at a time."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from ignite_vision.data.images import LARGE, decode, pixels_of, upright_size
from ignite_vision.data.preprocessing import window
from ignite_vision.inference.classifier import Classifier
from ignite_vision.inference.heat import heat_layer, heat_maps
from ignite_vision.serve.batcher import Batcher

BATCHES = (1, 2, 4, 8, 16)  # images of a forward pass: padded to 16, a lone request would take ten times as long
ROOM = 64  # requests that are decoded, wait or are computed
LARGE_ROOM = 8  # of them, those with a large image: each holds up to 20 MB while it waits
DECODERS = 2  # asyncio's own pool makes up to 32 threads, each with a heap that keeps what it was given
MAX_PIXELS = 50_000_000  # of an image; up to 700 MB while it is decoded
NAME = "the image"  # what errors call it: it has no path here


class Busy(Exception):
    """As many requests wait as there is room for."""


class TooLarge(Exception):
    """More pixels than are accepted."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A decoded image. canvas: (c,S,S) uint8. size: (height, width) in pixels of the image itself, upright."""

    canvas: torch.Tensor
    size: tuple[int, int]


class Answering:
    """A classifier that answers many at once. layer: where heat maps are taken, or None.

    inside: requests that are in it now. images: how many were answered.
    """

    def __init__(self, classifier: Classifier):
        self.classifier = classifier
        self.decoders = ThreadPoolExecutor(DECODERS, "decode")
        self.large = ThreadPoolExecutor(1, "decode-large")
        self.computing = ThreadPoolExecutor(1, "compute")
        self.batcher: Batcher[torch.Tensor, np.ndarray] = Batcher(self._compute, BATCHES[-1], self.computing)
        self.inside = self.inside_large = self.images = 0
        self.layer = heat_layer(classifier)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within, it answers. The first forward pass, which takes longer, is made before."""
        preprocessing = self.classifier.preprocessing
        black = torch.zeros(preprocessing.channels, *preprocessing.size, dtype=torch.uint8)
        task = asyncio.create_task(self.batcher.run())
        await self.batcher(black)
        try:
            yield
        finally:
            task.cancel()
            for pool in (self.decoders, self.large, self.computing):
                pool.shutdown(wait=False, cancel_futures=True)

    async def answer(self, data: bytes | bytearray, top: int, heat: bool) -> dict[str, Any]:
        """Return what the model says of a file's bytes, as JSON has it.

        top: how many classes. Busy, at once, where there is no room; TooLarge; UserError for what is no image.
        """
        with self._one_more("inside", ROOM):
            picture = await self._picture(data)
            probabilities = await self.batcher(picture.canvas)
            answer = self._in_words(probabilities, top)
            if heat:
                answer["heat_map"] = await self._heat(picture, int(probabilities.argmax()))
            self.images += 1
            return answer

    def expect_room(self) -> None:
        """Raise Busy where there is none."""
        if self.inside >= ROOM:
            raise Busy

    @contextlib.contextmanager
    def _one_more(self, what: str, room: int) -> Iterator[None]:
        """Count one that is in here, for as long as it is."""
        if getattr(self, what) >= room:
            raise Busy
        setattr(self, what, getattr(self, what) + 1)
        try:
            yield
        finally:
            setattr(self, what, getattr(self, what) - 1)

    async def _picture(self, data: bytes | bytearray) -> Picture:
        """Decode; a large image in a thread of its own, where the others do not wait for it."""
        loop = asyncio.get_running_loop()
        pixels = await loop.run_in_executor(self.decoders, pixels_of, data, NAME)
        if pixels > MAX_PIXELS:
            raise TooLarge
        if pixels <= LARGE:
            return await loop.run_in_executor(self.decoders, self._decode, data)
        with self._one_more("inside_large", LARGE_ROOM):
            return await loop.run_in_executor(self.large, self._decode, data)

    def _decode(self, data: bytes | bytearray) -> Picture:
        canvas = self.classifier.canvas
        image = decode(data, NAME, canvas.least)
        return Picture(canvas(image).clone(), upright_size(data, NAME))  # not a view of the whole image

    def _compute(self, canvases: list[torch.Tensor]) -> list[np.ndarray]:
        return list(self.classifier.probabilities(torch.stack(canvases), BATCHES))

    def _in_words(self, probabilities: np.ndarray, top: int) -> dict[str, Any]:
        order = (-probabilities).argsort(kind="stable")[:top].tolist()  # of equals the first, as everywhere
        classes = self.classifier.classes
        sure = bool(probabilities[order[0]] >= (self.classifier.abstain_below or 0))
        return {
            "class": classes[order[0]] if sure else None,
            "sure": sure,
            "top": [{"class": classes[i], "probability": round(float(probabilities[i]), 6)} for i in order],
        }

    async def _heat(self, picture: Picture, label: int) -> dict[str, Any] | None:
        """Return the map of a class, and where it lies in the image; None where there is none."""
        if self.layer is None:
            return None
        work = functools.partial(heat_maps, self.classifier, picture.canvas[None], [label], self.layer)
        (heat,) = await asyncio.get_running_loop().run_in_executor(self.computing, work)
        if heat is None:
            return None
        height, width = picture.size
        places = window(height, width, self.classifier.preprocessing)
        return {
            "class": self.classifier.classes[label],
            "grid": [[round(value, 3) for value in row] for row in heat.tolist()],
            "window": dict(zip(("top", "left", "height", "width"), (round(place, 2) for place in places), strict=True)),
            "image": {"height": height, "width": width},
        }
