"""Features of a frozen network, computed once: what goes into its head, for every image and view.

Nothing below a head that trains alone ever changes, so every pass over it but the first is waste. The head then
trains on the features with the same engines, events, metrics and checkpoints.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ignite_vision.augment import augment, changes_targets, draws, needs_seed
from ignite_vision.data.preprocessing import center_crop, normalize, plain
from ignite_vision.data.splits import NAMES
from ignite_vision.errors import UserError
from ignite_vision.identity import MODULE_ATTRIBUTES, describe
from ignite_vision.loading.batches import eval_batch, in_order, padded
from ignite_vision.loading.cache import Shards, has_room, my_shares
from ignite_vision.loading.loaders import eval_loader
from ignite_vision.loading.sources import Decoded, Mapped, Resident, Views
from ignite_vision.models.head import split_at_head
from ignite_vision.prepare import Prepared
from ignite_vision.randomness import Purpose, seed_everything, uniforms
from ignite_vision.system import distributed
from ignite_vision.system.device import autocast
from ignite_vision.system.environment import record
from ignite_vision.system.memory import fits
from ignite_vision.system.progress import with_progress

AS_FEATURES: dict[str, Any] = {"trainable": "head", "augment": (), "views": None, "cache": "features"}
"""Fields of a recipe that has its features computed once, whatever it would do with them."""
CHECKED = 2  # rows of a cache that are computed again when it is used
AS_COMPUTED = 0.05  # of the largest value: rows of another batch size differ in their last bits, in bf16 by 1/256


class _Enough(Exception):
    """Ends a forward pass at the head."""


class Features:
    """Features of what a recipe was prepared to: whether they are possible, and the rows of each split."""

    def __init__(self, prepared: Prepared):
        self.prepared = prepared
        self._stamps: dict[str, str] = {}

    def views(self, split: str) -> int:
        """Views of each image: validation and test have the centre crop alone."""
        recipe = self.prepared.recipe
        return recipe.views or 1 if split == "train" and recipe.augment else 1

    def obstacle(self, names: Sequence[str] = NAMES) -> str | None:
        """What stands against computing features of these splits once; None if nothing does."""
        recipe = self.prepared.recipe
        if recipe.trainable != "head":
            return f"trainable is '{recipe.trainable}', not 'head'"
        if recipe.augment and recipe.views is None:
            return "the recipe augments but sets no `views`"
        if changes_targets(recipe.augment):
            return "an augmentation changes the targets"
        if not all(images.stable for _, images in self.prepared.splits.items()):
            return "a custom Dataset may return different images each time"
        try:
            _ = self._frozen
        except UserError as error:  # a layer holds what has no state to describe: an open file, a lock
            return f"what decides the features cannot be described: {error.what}"
        if all(self.is_computed(split) for split in names):
            return None
        return self._obstacle_to_new()

    def _obstacle_to_new(self) -> str | None:
        sample = self._sample()
        if sample is None:
            return "the model computes something after its head, so features cannot be cached"
        rows = sum(self.views(split) * len(images) for split, images in self.prepared.splits.items())
        return None if has_room(rows * sample.numel() * sample.element_size()) else "the disk has no room"

    def is_computed(self, split: str) -> bool:
        """Whether the features of all images of a split are on disk."""
        found = self._on_disk(split)
        return found is not None and not found.missing()

    def source(self, split: str) -> Views:
        """Rows of a split, computed now where they are not on disk yet; in memory if they fit there."""
        shards = self._believed(split) or self._new(split)
        for todo in my_shares(shards):
            self._compute(split, shards, todo)
        device = self.prepared.device
        resident = fits(shards.n * shards.row_bytes, device)
        return Views(Resident(shards.read_all().to(device)) if resident else Mapped(shards), self.views(split))

    def vectors(self, split: str) -> torch.Tensor:
        """Features of all images of a split, in order: (n,D) float32, on the CPU; the mean over the places of a map."""
        source = self.source(split)
        rows = source[0, np.arange(len(source))].cpu().float()
        return rows.mean((-2, -1)) if rows.ndim == 4 else rows.flatten(1)

    def _believed(self, split: str) -> Shards | None:
        """Features on disk, unless they are not what the model computes: then they are deleted everywhere."""
        shards = self._on_disk(split)
        if all(distributed.gather(shards is None or self._still_true(split, shards))):
            return shards
        self.prepared.say(f"warning: cached features of {split} are not what the model computes: computed again")
        if shards is not None and distributed.local_rank() == 0:
            shutil.rmtree(shards.folder, ignore_errors=True)
        distributed.barrier()
        return None

    def _new(self, split: str) -> Shards:
        sample = self._sample()
        if sample is None:
            raise UserError("the model's features cannot be separated from its head", next_step="--set cache=none.")
        batch, n = self._batch, len(self.prepared.splits[split])
        return Shards("features", self._key(split), n, (self.views(split), *sample.shape), sample.dtype, batch)

    def _on_disk(self, split: str) -> Shards | None:
        """Features of a split that an earlier run began, whole or not."""
        return Shards.on_disk("features", self._key(split), len(self.prepared.splits[split]))

    def _still_true(self, split: str, shards: Shards) -> bool:
        """Whether some rows on disk are what the model computes: a key cannot know everything that decides them.

        Two rows, or a whole batch where an operation draws for a batch at a time.
        """
        missing = shards.missing()
        on_disk = [shards.rows(k) for k in range(shards.count) if k not in missing]
        if not on_disk:
            return True
        whole = split == "train" and needs_seed(self.prepared.recipe.augment)
        _, index = in_order(on_disk[0], self._batch if whole else CHECKED)[0]
        canvases = self._decoded(split)[0, padded(index, self._batch) if whole else index]
        self.prepared.model.eval()
        with torch.inference_mode(), self._below_head() as below:
            found = below(self._view(split, canvases, index, 0))[: len(index)].cpu().float()
        kept = shards.gather(index)[:, 0].float()
        return found.shape == kept.shape and bool((found - kept).abs().max() <= AS_COMPUTED * kept.abs().max())

    def _key(self, split: str) -> dict[str, Any]:
        """Everything that the features of a split are a function of: not the seed, the head or the learning rate."""
        recipe = self.prepared.recipe
        augmented = split == "train" and recipe.augment
        custom = callable(recipe.model) or augmented
        return {
            "images": self._stamp(split),
            "model": self._frozen,
            "sources": self.prepared.loaded.sources() if custom else {},
            "preprocessing": self.prepared.preprocessing.to_dict(),
            "canvas": self.prepared.canvas.size,
            "augment": [describe(operation) for operation in recipe.augment] if augmented else [],
            "views": [self.views(split), recipe.split_seed] if augmented else 1,
            "batch": self._batch,
            "environment": record(self.prepared.device, self.prepared.precision),
        }

    @property
    def _batch(self) -> int:
        return eval_batch(self.prepared.recipe, self.prepared.splits)

    @functools.cached_property
    def _frozen(self) -> str:
        return frozen_hash(self.prepared.model)

    def _stamp(self, split: str) -> str:
        if split not in self._stamps:
            self._stamps[split] = self.prepared.splits[split].stamp()
        return self._stamps[split]

    def _decoded(self, split: str) -> Decoded:
        return Decoded(self.prepared.splits[split], self.prepared.canvas, self.prepared.recipe.seed)

    def _compute(self, split: str, shards: Shards, todo: list[int]) -> None:
        """Compute these files: decode once, then one forward pass per view."""
        prepared, batch = self.prepared, self._batch
        requests = [request for k in todo for request in in_order(shards.rows(k), batch)]
        targets = prepared.splits[split].targets
        decoded = self._decoded(split)
        loader = eval_loader(decoded, targets, batch, prepared.canvas, prepared.reading, requests)
        batches = with_progress(zip(requests, loader, strict=True), len(requests), f"features of {split}", prepared.say)
        rows: list[torch.Tensor] = []
        with contextlib.closing(loader), torch.inference_mode(), decoded.leaving_hashes(), self._below_head() as below:
            prepared.model.eval()
            for (_, index), (canvases, _) in batches:
                views = [below(self._view(split, canvases, index, v)) for v in range(self.views(split))]
                rows.append(torch.stack([v[: len(index)].cpu() for v in views], dim=1))
                if index[-1] + 1 == shards.rows(todo[0]).stop:
                    shards.write(todo.pop(0), torch.cat(rows))
                    rows.clear()

    def _view(self, split: str, canvases: torch.Tensor, index: np.ndarray, v: int) -> torch.Tensor:
        """View v of a batch: its augmentation drawn from split_seed, so that three seeds share one cache."""
        recipe, preprocessing = self.prepared.recipe, self.prepared.preprocessing
        images = canvases.to(self.prepared.device, non_blocking=True)
        if split == "train" and recipe.augment:
            seed_everything(recipe.split_seed, Purpose.AUGMENT, v, int(index[0]))  # for operations without `draws`
            u = uniforms(recipe.split_seed, v, padded(index, len(images)), draws(recipe.augment)).to(images.device)
            nothing = torch.zeros(len(images), dtype=torch.int64, device=images.device)
            images, _ = augment(images, nothing, u, recipe.augment, plain(preprocessing.size))
        return normalize(center_crop(images, preprocessing.size), preprocessing)

    def _below_head(self) -> contextlib.AbstractContextManager[Callable[[torch.Tensor], torch.Tensor]]:
        return self._stopped_before(split_at_head(self.prepared.model)[0])

    @contextlib.contextmanager
    def _stopped_before(self, layer: nn.Module) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
        """Within, the value is a function images -> what would have gone into `layer` of the model."""
        caught: list[torch.Tensor] = []

        def catch(_layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            caught.append(inputs[0])
            raise _Enough

        def below(images: torch.Tensor) -> torch.Tensor:
            with contextlib.suppress(_Enough), autocast(self.prepared.device, self.prepared.precision):
                self.prepared.model(images)
            return caught.pop()

        handle = layer.register_forward_pre_hook(catch)
        try:
            yield below
        finally:
            handle.remove()

    def _sample(self) -> torch.Tensor | None:
        """What goes into the head for the first training image; None if the head is not all that comes after it.

        Tried on a batch of two: the part from the head on must give the model's own output to the bit.
        """
        model, preprocessing = self.prepared.model, self.prepared.preprocessing
        first, part = split_at_head(model)
        canvases = self._decoded("train")[0, np.arange(2)].to(self.prepared.device)
        images = normalize(center_crop(canvases, preprocessing.size), preprocessing)
        model.eval()
        with torch.inference_mode(), autocast(self.prepared.device, self.prepared.precision):
            whole = model(images)
            try:
                with self._stopped_before(first) as below:
                    feature = below(images)
                same = part(feature).equal(whole)
            except (IndexError, RuntimeError):  # the head is never called, or does not take what comes
                return None
        return feature[0] if same else None


def frozen_hash(model: nn.Module) -> str:
    """Hash of all that the features depend on: each layer but the head and what follows, its settings and weights."""
    kept = {id(module) for module in split_at_head(model)[1]}
    digest = hashlib.sha256()
    for name, module in model.named_modules():
        if id(module) not in kept:
            digest.update(f"{name} {type(module).__name__} {module.extra_repr()} {_settings(module)}\n".encode())
            tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for tensor_name, tensor in tensors:
                digest.update(tensor_name.encode())
                digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _settings(module: nn.Module) -> str:
    """A module's plain attributes, such as `self.scale = 2`."""
    plain = {name: value for name, value in vars(module).items() if name not in MODULE_ATTRIBUTES}
    return repr(sorted((name, describe(value)) for name, value in plain.items()))
