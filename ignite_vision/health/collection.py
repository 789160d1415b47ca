"""All images of three splits in one row, as a check counts them: train, then val, then test."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ignite_vision.data.containers import Container
from ignite_vision.data.splits import Splits
from ignite_vision.health.findings import SHOWN


@dataclasses.dataclass(frozen=True)
class Collection:
    """splits: cut. given: names of those that the data came with; the others were cut from train by a seed."""

    splits: Splits
    given: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.splits.classes

    @functools.cached_property
    def parts(self) -> list[tuple[str, Container]]:
        """(split, images) of what is there."""
        return list(self.splits.items())

    @functools.cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(images) for _, images in self.parts])

    @functools.cached_property
    def targets(self) -> np.ndarray:
        """(N,) int64 class indices."""
        return np.concatenate([images.targets.numpy() for _, images in self.parts])

    @functools.cached_property
    def part_of(self) -> np.ndarray:
        """(N,) int64: which of `parts` an image is in."""
        return np.repeat(np.arange(len(self.parts)), [len(images) for _, images in self.parts])

    def in_split(self, name: str) -> np.ndarray:
        """(N,) bool."""
        return self.part_of == [part for part, _ in self.parts].index(name)

    def place(self, k: int) -> tuple[Container, int]:
        """The container of image k and its index there."""
        part = int(np.searchsorted(self._ends, k, side="right"))
        images = self.parts[part][1]
        return images, k - int(self._ends[part]) + len(images)

    def split(self, k: int) -> str:
        """Name of image k's split."""
        return self.parts[int(self.part_of[k])][0]

    def name(self, k: int) -> str:
        """Id of image k."""
        images, i = self.place(k)
        return images.sample_id(i)

    def key(self, k: int) -> tuple[str, str]:
        """(id, class name) of image k."""
        return self.name(k), self.classes[int(self.targets[k])]

    def path(self, k: int) -> Path | None:
        """Where image k's file lies; None for what is no file."""
        images, i = self.place(k)
        return images.path(i)

    def places_of(self, cut: Collection) -> np.ndarray:
        """(N,) int64: the place here of each image of the same data after train was cut, and some were left out."""
        begins = dict(zip(dict(self.parts), [0, *self._ends.tolist()], strict=False))
        found = []
        for name, images in cut.parts:
            home = name if name in begins else "train"
            pool = self.splits[home].index.numpy()
            order = np.argsort(pool, kind="stable")
            found.append(begins[home] + order[np.searchsorted(pool[order], images.index.numpy())])
        return np.concatenate(found)

    def names(self, chosen: Iterable[int] | np.ndarray) -> tuple[str, ...]:
        """Ids of the first 20 of some images, sorted."""
        return tuple(sorted(self.name(int(k)) for k in list(chosen)[:SHOWN]))
