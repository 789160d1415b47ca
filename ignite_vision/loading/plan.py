"""What holds the rows of a run: features of a frozen network, pixels in memory or on disk, or nothing."""

from __future__ import annotations

import dataclasses

from ignite_vision.data.splits import NAMES
from ignite_vision.errors import UserError
from ignite_vision.loading.batches import eval_batch
from ignite_vision.loading.cache import has_room
from ignite_vision.loading.features import Features
from ignite_vision.loading.loaders import Loader, eval_loader
from ignite_vision.loading.sources import Decoded, Source, pixel_source
from ignite_vision.models.head import not_linear
from ignite_vision.prepare import Prepared
from ignite_vision.recipe import OF_BATCHES, is_changed
from ignite_vision.system import distributed
from ignite_vision.system.memory import fits, free_memory

DECODE_AGAIN = 20_000  # files that every command may as well decode again: some ten seconds on two cores


@dataclasses.dataclass(frozen=True)
class Plan:
    """What holds the rows, and why. kind: features, resident, pixels (on disk) or none (decoded when asked for)."""

    kind: str
    reason: str
    on_disk: bool = False
    head: str = "optimizer"
    """What trains a head: the recipe's optimizer, or logistic regression."""
    not_logistic: str = ""
    """Why it is not logistic regression, where the recipe would have that if possible."""


def choose(prepared: Prepared) -> Plan:
    """Choose by recipe, memory and disk; process 0 does, for all. Computes no row but a sample.

    UserError when the recipe insists on features, or on logistic regression of them, and they are not possible.
    """
    return distributed.from_first(lambda: _choose(prepared))


def _choose(prepared: Prepared) -> Plan:
    cache, features = prepared.recipe.cache, Features(prepared)
    obstacle = features.obstacle() if cache in ("auto", "features") else f"cache is '{cache}'"
    if obstacle is not None and cache == "features":
        raise UserError(f"features cannot be cached: {obstacle}", next_step="Use --set cache=auto.")
    if obstacle is not None:
        return _with_head(prepared, _pixels(prepared), obstacle)
    views = features.views("train")
    reason = f"all but the head is frozen; {views} view{'s' * (views != 1)} of each training image"
    return _with_head(prepared, Plan("features", reason, on_disk=True), None)


def _with_head(prepared: Prepared, plan: Plan, obstacle: str | None) -> Plan:
    """The plan with what trains the head. obstacle: to features. UserError where the recipe insists."""
    recipe = prepared.recipe
    if recipe.head == "optimizer":
        return plan
    others = [f"the recipe has {name}" for name in OF_BATCHES if is_changed(recipe, name)]
    if prepared.splits.train.weights is not None:
        others.append("the manifest has weights")
    obstacle = obstacle or (others[0] if others else not_linear(prepared.model))
    if obstacle is None:
        return dataclasses.replace(plan, head="logistic")
    if recipe.head == "logistic":
        what = f"this head cannot be trained by logistic regression: {obstacle}"
        raise UserError(what, next_step="Use --set head=optimizer.")
    return dataclasses.replace(plan, not_logistic=obstacle)


def _pixels(prepared: Prepared) -> Plan:
    """Memory if train and validation fit in a quarter of what is free; else the disk; else none."""
    cache, splits, device = prepared.recipe.cache, prepared.splits, prepared.device
    if cache == "none":
        return Plan("none", "cache=none")
    if not (splits.train.stable and splits.val.stable):
        return Plan("none", "a custom Dataset may return different images each time")
    n = len(splits.train) + len(splits.val)
    size = n * prepared.canvas.bytes
    resident = fits(size, device)
    reason = f"{size / 2**20:,.0f} MiB of pixels, {free_memory(device) / 2**20:,.0f} MiB of memory free"
    costly, several = splits.train.costly, device.type == "cpu" and distributed.local_count() > 1
    worth = costly and (n > DECODE_AGAIN or not resident or cache == "pixels" or several) and has_room(size)
    if cache == "resident" or (resident and cache != "pixels"):
        return Plan("resident", reason, on_disk=worth)
    if worth:
        return Plan("pixels", reason, on_disk=True)
    return Plan("none", f"{reason}, no room on the disk" if costly else reason)


class Rows:
    """The rows of each split, made when first asked for and kept: in a run, all that reads asks here."""

    def __init__(self, prepared: Prepared, plan: Plan):
        self.prepared, self.plan = prepared, plan
        self._features = Features(prepared)
        self._made: dict[str, Source] = {}

    def __getitem__(self, split: str) -> Source:
        if split not in NAMES:
            raise KeyError(split)
        if split not in self._made:
            self._made[split] = self._features.source(split) if self.plan.kind == "features" else self._pixels(split)
        return self._made[split]

    def eval_loader(self, split: str) -> Loader:
        """Batches of a split for the evaluator."""
        prepared = self.prepared
        batch = eval_batch(prepared.recipe, prepared.splits)
        return eval_loader(self[split], prepared.splits[split].targets, batch, prepared.canvas, prepared.reading)

    def _pixels(self, split: str) -> Source:
        prepared = self.prepared
        decoded = Decoded(prepared.splits[split], prepared.canvas, prepared.recipe.seed)
        return pixel_source(decoded, self.plan.kind, self.plan.on_disk, prepared.device, prepared.say)
