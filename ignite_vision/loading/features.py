"""Features of a frozen network, computed once: what goes into its head, for every image and view.

Nothing below a head that trains alone ever changes, so every pass over it but the first is waste. The head then
trains on the features with the same engines, events, metrics and checkpoints.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from ignite_vision.augment import augment, draws
from ignite_vision.data.containers import DatasetImages
from ignite_vision.data.preprocessing import center_crop, normalize
from ignite_vision.errors import UserError
from ignite_vision.loading.batches import eval_batch, in_order
from ignite_vision.loading.cache import Shards, has_room, key_of_images, my_shares, with_progress
from ignite_vision.loading.loaders import eval_loader
from ignite_vision.loading.plan import RESIDENT_SHARE, Plan, plan_pixels
from ignite_vision.loading.sources import Decoded, Mapped, Resident, Source, Views, pixel_source
from ignite_vision.models.head import split_at_head
from ignite_vision.randomness import uniforms
from ignite_vision.system import distributed
from ignite_vision.system.device import autocast_dtype
from ignite_vision.system.environment import record
from ignite_vision.system.memory import free_memory
from ignite_vision.training.run import Run

SPLITS = ("train", "val", "test")


class _Enough(Exception):
    """Ends a forward pass at the head."""


def settle(run: Run) -> None:
    """Choose what holds the rows (run.plan), and what of the model has to run on them (run.network).

    UserError when the recipe insists on features and they cannot be had.
    """
    run.plan = distributed.from_first(lambda: plan(run))
    run.network = split_at_head(run.model)[1] if run.plan.kind == "features" else run.model


def plan(run: Run) -> Plan:
    """What should hold the rows, by recipe, memory and disk."""
    if run.recipe.cache in ("auto", "features"):
        obstacle = why_not(run)
        if obstacle is None:
            reason = f"all but the head is frozen; {run.views} view(s) of each training image"
            return Plan("features", reason, on_disk=True)
        if run.recipe.cache == "features":
            raise UserError(f"features cannot be computed once: {obstacle}", next_step="Use --set cache=auto.")
    return plan_pixels(run.recipe, run.splits, run.canvas, run.device)


def why_not(run: Run) -> str | None:
    """What stands against computing features once; None if nothing does."""
    if run.recipe.trainable != "head":
        return f"trainable is '{run.recipe.trainable}', not 'head'"
    if run.recipe.augment and run.recipe.views is None:
        return "the recipe augments and states no number of views"
    if any(isinstance(getattr(run.splits, name), DatasetImages) for name in SPLITS):
        return "a data set of its own class may change its images each time"
    if all(shards is not None and not shards.missing() for shards in (found(run, name) for name in SPLITS)):
        return None
    return _why_not_new(run)


def _why_not_new(run: Run) -> str | None:
    sample = first_feature(run)
    if sample is None:
        return "the model does more after its head than can be told apart"
    rows = run.views * len(run.splits.train) + len(run.splits.val) + len(run.splits.test)
    return None if has_room(rows * sample.numel() * sample.element_size()) else "the disk has no room"


def source_of(run: Run, split: str) -> Source:
    """Rows of a split, made once in a run as its plan says."""
    if split not in run.sources:
        if run.plan.kind == "features":
            run.sources[split] = feature_source(run, split)
        else:
            images = getattr(run.splits, split)
            run.sources[split] = pixel_source(images, run.canvas, run.recipe.seed, run.plan, run.device, run.say)
    return run.sources[split]


def feature_source(run: Run, split: str) -> Views:
    """Features of a split, computed now where they are not on disk yet; in memory if they fit there."""
    shards = found(run, split)
    if shards is None:
        sample = first_feature(run)
        if sample is None:
            raise UserError("the model's features cannot be told apart", next_step="Use --set cache=none.")
        images = getattr(run.splits, split)
        shape = (views_of(run, split), *sample.shape)
        shards = Shards("features", key(run, split), len(images), shape, sample.dtype, eval_batch(run.recipe))
    extract(run, split, shards)
    fits = shards.n * shards.row_bytes <= RESIDENT_SHARE * free_memory(run.device)
    return Views(Resident(shards.read_all().to(run.device)) if fits else Mapped(shards), views_of(run, split))


def views_of(run: Run, split: str) -> int:
    """Views of each image: validation and test have the centre crop alone."""
    return run.views if split == "train" else 1


def found(run: Run, split: str) -> Shards | None:
    """Features of a split that an earlier run began, whole or not."""
    return Shards.on_disk("features", key(run, split), len(getattr(run.splits, split)))


def key(run: Run, split: str) -> dict[str, Any]:
    """Everything that the features of a split are a function of: not the seed, the head or the learning rate."""
    if "frozen" not in run.hashes:
        run.hashes["frozen"] = frozen_hash(run.model)
    if split not in run.hashes:
        run.hashes[split] = key_of_images(getattr(run.splits, split))
    augmented = split == "train" and run.recipe.augment
    return {
        "images": run.hashes[split],
        "model": run.hashes["frozen"],
        "preprocessing": run.preprocessing.to_dict(),
        "canvas": run.canvas.size,
        "augment": [repr(operation) for operation in run.recipe.augment] if augmented else [],
        "views": [views_of(run, split), run.recipe.split_seed] if augmented else 1,
        "batch": eval_batch(run.recipe),
        "environment": record(run.device, run.precision),
    }


def extract(run: Run, split: str, shards: Shards) -> None:
    """Compute the files that are missing, each process its share: decode once, then one forward pass per view."""
    for todo in my_shares(shards):
        compute(run, split, shards, todo)


def compute(run: Run, split: str, shards: Shards, todo: list[int]) -> None:
    """Compute these files."""
    images, batch = getattr(run.splits, split), eval_batch(run.recipe)
    decoded = Decoded(images, run.canvas, run.recipe.seed)
    requests = [request for k in todo for request in in_order(shards.rows(k), batch)]
    loader = eval_loader(run, decoded, images.targets, requests)
    batches = with_progress(zip(requests, loader, strict=True), len(requests), f"features of {split}", run.say)
    rows: list[torch.Tensor] = []
    below = stopped_before(split_at_head(run.model)[0])
    with contextlib.closing(loader), torch.inference_mode(), below as below_head:
        run.model.eval()
        for (_, index), (canvases, _) in batches:
            views = [below_head(run, view(run, split, canvases, index, v)) for v in range(views_of(run, split))]
            rows.append(torch.stack([v[: len(index)].cpu() for v in views], dim=1))
            if index[-1] + 1 == shards.rows(todo[0]).stop:
                shards.write(todo.pop(0), torch.cat(rows))
                rows.clear()


def view(run: Run, split: str, canvases: torch.Tensor, index: np.ndarray, v: int) -> torch.Tensor:
    """View v of a batch: its augmentation drawn from split_seed, so that three seeds share one cache."""
    images = canvases.to(run.device, non_blocking=True)
    if split == "train" and run.recipe.augment:
        padded = np.concatenate([index, np.repeat(index[-1:], len(images) - len(index))])
        u = uniforms(run.recipe.split_seed, v, padded, draws(run.recipe.augment)).to(run.device)
        images = augment(images, u, run.recipe.augment, run.preprocessing.crop)
    return normalize(center_crop(images, run.preprocessing.crop), run.preprocessing)


@contextlib.contextmanager
def stopped_before(layer: nn.Module) -> Iterator[Callable[[Run, torch.Tensor], torch.Tensor]]:
    """Within, the value is a function (run, images) -> what would have gone into `layer` of its model."""
    caught: list[torch.Tensor] = []

    def catch(_layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        caught.append(inputs[0])
        raise _Enough

    def below(run: Run, images: torch.Tensor) -> torch.Tensor:
        dtype = autocast_dtype(run.precision)
        with contextlib.suppress(_Enough), torch.autocast(run.device.type, dtype, enabled=dtype is not None):
            run.model(images)
        return caught.pop()

    handle = layer.register_forward_pre_hook(catch)
    try:
        yield below
    finally:
        handle.remove()


def first_feature(run: Run) -> torch.Tensor | None:
    """What goes into the head for the first training image; None if the head is not all that comes after it.

    Tried on a batch of two: the part from the head on must give the model's own output to the bit.
    """
    first, part = split_at_head(run.model)
    canvases = Decoded(run.splits.train, run.canvas, run.recipe.seed)[0, np.arange(2)].to(run.device)
    images = normalize(center_crop(canvases, run.preprocessing.crop), run.preprocessing)
    dtype = autocast_dtype(run.precision)
    run.model.eval()
    with torch.inference_mode(), torch.autocast(run.device.type, dtype, enabled=dtype is not None):
        whole = run.model(images)
        try:
            with stopped_before(first) as below:
                feature = below(run, images)
            same = part(feature).equal(whole)
        except (IndexError, RuntimeError):  # the head is never called, or does not take what comes
            return None
    return feature[0] if same else None


def frozen_hash(model: nn.Module) -> str:
    """Hash of everything that the features depend on: each layer but the head and what follows, and its weights."""
    kept = {id(module) for module in split_at_head(model)[1]}
    digest = hashlib.sha256()
    for name, module in model.named_modules():
        if id(module) not in kept:
            digest.update(f"{name} {type(module).__name__} {module.extra_repr()}\n".encode())
            tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for tensor_name, tensor in tensors:
                digest.update(tensor_name.encode())
                digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
