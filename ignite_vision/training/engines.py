"""The trainer and the evaluator: Ignite's supervised engines with our way to prepare a batch."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import EpochOutputStore
from torch import nn

from ignite_vision.augment import augment
from ignite_vision.data.preprocessing import Preprocessing, center_crop, normalize, plain
from ignite_vision.errors import UserError
from ignite_vision.loading.loaders import Loader
from ignite_vision.loading.plan import Plan
from ignite_vision.models.head import keep_frozen
from ignite_vision.prepare import Prepared
from ignite_vision.randomness import Purpose, seed_everything
from ignite_vision.recipe_values import optimizer_class, refuse_unusable
from ignite_vision.run_directory import RunDirectory
from ignite_vision.system import distributed
from ignite_vision.system.device import autocast
from ignite_vision.training.scores import loss_and_accuracy

Batch = Sequence[torch.Tensor]
Prepare = Callable[[Batch, torch.device, bool], tuple[torch.Tensor, torch.Tensor]]
Forward = Callable[[nn.Module, torch.Tensor], torch.Tensor]


def make_optimizer(prepared: Prepared) -> torch.optim.Optimizer:
    """Build the recipe's optimizer over what trains; named ones in torch's fused form where there is one."""
    recipe = prepared.recipe
    parameters = [p for p in prepared.model.parameters() if p.requires_grad]
    if callable(recipe.optimizer):
        optimizer = recipe.optimizer(parameters, recipe.lr)
        refuse_unusable(type(optimizer))
        if not isinstance(optimizer, torch.optim.Optimizer):
            what = f"the recipe's optimizer function returned {type(optimizer).__name__}, not an Optimizer"
            raise UserError(what, next_step="Return one of torch.optim, or a subclass of torch.optim.Optimizer.")
        return optimizer
    make = optimizer_class(recipe.optimizer)
    options: dict[str, Any] = {"lr": recipe.lr}
    options |= {"fused": True} if "fused" in make.__init__.__code__.co_varnames else {}
    return make(parameters, **options)


def make_trainer(prepared: Prepared, plan: Plan, network: nn.Module, optimizer: torch.optim.Optimizer) -> Engine:
    """Build the engine that trains `network`: the model or its head, wrapped where there are several processes."""
    recipe, device = prepared.recipe, prepared.device
    loss = loss_of(prepared)

    def checked_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        value = loss(logits, targets)
        refuse_unusable_loss(value)
        # on a GPU it is looked at once an epoch instead: looking waits for the device
        if device.type == "cpu" and not math.isfinite(value.item()):
            where = f"epoch {trainer.state.epoch}, iteration {trainer.state.iteration}"
            raise not_finite(where, optimizer, prepared.directory)
        return value

    trainer = create_supervised_trainer(
        network,
        optimizer,
        checked_loss,
        device=device,
        non_blocking=True,
        prepare_batch=prepare_training(prepared, plan.kind),
        model_fn=forward_in(prepared.precision, device, frozen_in(prepared, plan)),
        # detached and still on the device: an .item() here would wait for it in every iteration
        output_transform=lambda _x, y, y_pred, loss: {
            "y_pred": y_pred.detach(),
            "y": y,
            "loss": loss.detach(),
        },
        gradient_accumulation_steps=recipe.accumulate,
        **_loss_scaling(prepared.precision),
    )
    mine = [distributed.rank()] if distributed.rank() else []  # each process drops out other activations

    @trainer.on(Events.ITERATION_STARTED)
    def seed_the_step(trainer: Engine) -> None:
        seed_everything(recipe.seed, Purpose.STEP, trainer.state.iteration, *mine)

    return trainer


def settle_order_of_addition(prepared: Prepared, plan: Plan, network: nn.Module, train: Loader) -> None:
    """Pass a batch through and back, and forget what came of it.

    After its first backward pass DistributedDataParallel lays the gradients out again, and those of three processes or
    more are added in another order, with other last bits. A resumed run must not begin before that.
    """
    if distributed.count() < 3:
        return
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    index = next(iter(train.sampler))[1]
    prepare = prepare_training(prepared, plan.kind)
    images, targets = prepare(train.dataset[0, np.arange(len(index))], prepared.device, False)
    network.train()
    logits = forward_in(prepared.precision, prepared.device, frozen_in(prepared, plan))(network, images)
    loss_of(prepared)(logits, targets).backward()
    for parameter in network.parameters():
        parameter.grad = None
    for name, buffer in network.named_buffers():
        buffer.copy_(buffers[name])


def frozen_in(prepared: Prepared, plan: Plan) -> list[nn.Module]:
    """What stays in eval mode of what the trainer runs: nothing of a head alone."""
    return [] if plan.kind == "features" else prepared.frozen


def loss_of(prepared: Prepared) -> Callable[..., torch.Tensor]:
    """The recipe's loss, its tensors on the device; cross entropy with the class weights where it has any."""
    loss, device, weights = prepared.recipe.loss, prepared.device, prepared.class_weights
    if weights is not None:
        return functools.partial(weighted_cross_entropy, weights=weights.to(device))
    return loss.to(device) if isinstance(loss, nn.Module) else loss


def weighted_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean over the images of weight times cross entropy. logits: (N,C); targets: (N,) int64 or (N,C); weights: (C,).

    Not divided by the sum of the weights, as torch has it: then the parts of a batch, of several processes or
    accumulated, would count by the classes that happen to be in them.
    """
    return nn.functional.cross_entropy(logits, targets, weights, reduction="sum") / len(targets)


def refuse_unusable_loss(value: Any) -> None:
    """UserError for what a recipe's loss has returned if no gradient can be computed from it."""
    hint = "Return the mean over the batch, computed with torch from the logits."
    if not isinstance(value, torch.Tensor):
        raise UserError(f"the recipe's loss returned a {type(value).__name__}, not a tensor", next_step=hint)
    if value.ndim:
        raise UserError(f"the recipe's loss returned shape {tuple(value.shape)}, not one number", next_step=hint)
    if not value.requires_grad:
        raise UserError("the recipe's loss does not depend on the model", next_step=hint)


def make_evaluator(
    network: nn.Module, preprocessing: Preprocessing, precision: str, device: torch.device, plan_kind: str = "none"
) -> Engine:
    """Build an engine that keeps logits and targets of an epoch; metrics weigh every image once.

    Each process runs over its share, and all of them have the whole. After run(): state.logits (N,C) float32,
    state.targets (N,) int64, both on the CPU in the split's order, and state.metrics "loss" (cross entropy, nats) and
    "accuracy" (a fraction).
    """
    evaluator = create_supervised_evaluator(
        network,
        device=device,
        non_blocking=True,
        prepare_batch=prepare_evaluation(preprocessing, plan_kind),
        model_fn=forward_in(precision, device, []),
        # images are padded to a fixed batch, targets are not
        output_transform=lambda _x, y, y_pred: {"y_pred": y_pred[: len(y)], "y": y},
    )
    EpochOutputStore().attach(evaluator, "outputs")

    @evaluator.on(Events.EPOCH_COMPLETED)
    def summarise(engine: Engine) -> None:
        state: Any = engine.state
        state.logits = distributed.all_rows(torch.cat([output["y_pred"] for output in state.outputs]))
        state.targets = distributed.all_rows(torch.cat([output["y"] for output in state.outputs]))
        state.metrics.update(loss_and_accuracy(state.logits, state.targets))

    return evaluator


def not_finite(where: str, optimizer: torch.optim.Optimizer, directory: RunDirectory) -> UserError:
    """Return the error for a loss or a weight that is NaN or infinite."""
    lr = optimizer.param_groups[0]["lr"]
    return UserError(
        f"the loss is not finite in {where} at learning rate {lr:.3g}",
        directory,
        f"Try a smaller one, `--set lr={lr / 10:.1g}`, or `--set precision=fp32`. Earlier checkpoints are kept.",
    )


def prepare_training(prepared: Prepared, plan_kind: str) -> Prepare:
    """(uint8 images, targets, u) -> augmented, normalised float32 images and targets, on the device."""
    operations, preprocessing = prepared.recipe.augment, prepared.preprocessing
    classes = len(prepared.splits.classes)

    def prepare(batch: Batch, device: torch.device, non_blocking: bool) -> tuple[torch.Tensor, torch.Tensor]:
        if plan_kind == "features":
            rows, targets = prepare_features(batch, device, non_blocking)
        else:
            images, targets, u = (tensor.to(device, non_blocking=non_blocking) for tensor in batch[:3])
            images, targets = augment(images, targets, u, operations, plain(preprocessing.size))
            rows = normalize(images, preprocessing)
        return rows, weighed(targets, classes, *(w.to(device, non_blocking=non_blocking) for w in batch[3:]))

    return prepare


def weighed(targets: torch.Tensor, classes: int, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Targets whose cross entropy is the images' own times their weights: those of one class are (N,C) then.

    targets: (N,) int64 or (N,C) float32. weights: (N,) float32; None: the targets as they are.
    """
    if weights is None:
        return targets
    soft = nn.functional.one_hot(targets, classes) if targets.ndim == 1 else targets
    return soft * weights[:, None]


def prepare_features(batch: Batch, device: torch.device, non_blocking: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(features, targets, ...) to the device: augmentation and normalisation lie behind them."""
    features, targets = (tensor.to(device, non_blocking=non_blocking) for tensor in batch[:2])
    if features.ndim == 4:  # as they came out of the network: another layout, other bits
        features = features.contiguous(memory_format=torch.channels_last)
    return features, targets


def prepare_evaluation(preprocessing: Preprocessing, plan_kind: str) -> Prepare:
    """(uint8 images, targets) -> normalised float32 centre crops and targets, on the device. Nothing random."""
    if plan_kind == "features":
        return prepare_features

    def prepare(batch: Batch, device: torch.device, non_blocking: bool) -> tuple[torch.Tensor, torch.Tensor]:
        images, targets = (tensor.to(device, non_blocking=non_blocking) for tensor in batch)
        return normalize(center_crop(images, preprocessing.size), preprocessing), targets

    return prepare


def forward_in(precision: str, device: torch.device, frozen: list[nn.Module]) -> Forward:
    """Return Ignite's model_fn: the forward pass under autocast, its logits in float32.

    In bf16 the cross entropy itself would be computed in bf16 otherwise (2.5625 for 2.5777). Ignite's step calls
    model.train() every iteration, so what is frozen goes back to eval mode every iteration too.
    """

    def forward(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
        keep_frozen(frozen)
        with autocast(device, precision), refusing_one_image():
            return model(images).float()

    return forward


@contextlib.contextmanager
def refusing_one_image() -> Iterator[None]:
    """UserError for what BatchNorm says when it has one value to average."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        hint = "Use a larger --batch-size, or a smaller accumulate: batch_size / accumulate images are seen at a time."
        raise UserError("the model's BatchNorm cannot train on one image at a time", next_step=hint) from error


def _loss_scaling(precision: str) -> dict[str, Any]:
    """fp16 gradients underflow without a GradScaler; Ignite brings one, on CUDA only."""
    return {"amp_mode": "amp", "scaler": True} if precision == "fp16" else {}
