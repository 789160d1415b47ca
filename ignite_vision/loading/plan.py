"""TODO."""

from __future__ import annotations

import dataclasses

import torch

from ignite_vision.data.containers import DatasetImages, ImageFiles
from ignite_vision.data.preprocessing import Canvas
from ignite_vision.data.splits import Splits
from ignite_vision.loading.cache import has_room
from ignite_vision.recipe import Recipe
from ignite_vision.system import distributed
from ignite_vision.system.memory import free_memory

RESIDENT_SHARE = 0.25  # of the free memory that rows may take
DECODE_AGAIN = 20_000  # files that every command may as well decode anew: some ten seconds on two cores


@dataclasses.dataclass(frozen=True)
class Plan:
    """What holds the rows, and why. kind: features, resident, pixels (on disk) or none (decoded when asked for)."""

    kind: str
    reason: str
    on_disk: bool = False


def plan_pixels(recipe: Recipe, splits: Splits, to_canvas: Canvas, device: torch.device) -> Plan:
    """Memory if train and validation fit in a quarter of what is free; else the disk; else none."""
    if recipe.cache == "none":
        return Plan("none", "cache=none")
    if isinstance(splits.train, DatasetImages) or isinstance(splits.val, DatasetImages):
        return Plan("none", "a data set of its own class may change its images each time")
    n = len(splits.train) + len(splits.val)
    size = n * to_canvas.preprocessing.channels * to_canvas.size**2
    free = free_memory(device)
    processes = distributed.local_count() if device.type == "cpu" else 1  # each holds all rows
    fits = size * processes <= RESIDENT_SHARE * free
    reason = f"{size / 2**20:,.0f} MiB as pixels, {free / 2**20:,.0f} MiB of memory free"
    files = isinstance(splits.train, ImageFiles)
    worth = files and (n > DECODE_AGAIN or not fits or recipe.cache == "pixels" or processes > 1) and has_room(size)
    if recipe.cache == "resident" or (fits and recipe.cache != "pixels"):
        return Plan("resident", reason, on_disk=worth)
    if worth:
        return Plan("pixels", reason, on_disk=True)
    return Plan("none", f"{reason}, no room on the disk" if files else reason)
