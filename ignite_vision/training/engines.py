"""The trainer and the evaluator: Ignite's supervised engines with our way to prepare a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import EpochOutputStore
from torch import nn

from ignite_vision.augment import augment
from ignite_vision.data.preprocessing import center_crop, normalize
from ignite_vision.errors import UserError
from ignite_vision.models.head import keep_frozen
from ignite_vision.randomness import Purpose, seed_everything
from ignite_vision.recipe import optimizer_class
from ignite_vision.system import distributed
from ignite_vision.system.device import autocast_dtype

if TYPE_CHECKING:
    from ignite_vision.training.run import Run


Batch = Sequence[torch.Tensor]


def make_engines(run: Run) -> None:
    """Give the run its optimizer, trainer and evaluator. The model is on the device already, and there are loaders."""
    run.optimizer = make_optimizer(run)
    network = distributed.in_parallel(run.network, run.device)
    forward = forward_in(run.precision, run.device, run.frozen if run.network is run.model else [])
    settle_order_of_addition(run, lambda images: forward(network, images))
    run.trainer = create_supervised_trainer(
        network,
        run.optimizer,
        make_loss(run),
        device=run.device,
        non_blocking=True,
        prepare_batch=prepare_training(run),
        model_fn=forward,
        # detached and still on the device: an .item() here would wait for it in every iteration
        output_transform=lambda _x, y, y_pred, loss: {
            "y_pred": y_pred.detach(),
            "y": y,
            "loss": loss.detach(),
        },
        gradient_accumulation_steps=run.recipe.accumulate,
        **_loss_scaling(run.precision),
    )
    run.evaluator = make_evaluator(run)

    mine = [distributed.rank()] if distributed.rank() else []  # each process drops out other activations

    @run.trainer.on(Events.ITERATION_STARTED)
    def seed_the_step(trainer: Engine) -> None:
        seed_everything(run.recipe.seed, Purpose.STEP, trainer.state.iteration, *mine)


def settle_order_of_addition(run: Run, forward: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Pass a batch through and back, and forget what came of it.

    After its first backward pass DistributedDataParallel lays the gradients out anew, and those of three processes or
    more are added in another order, with other last bits. A run that goes on must not begin before that.
    """
    if distributed.count() < 3:
        return
    buffers = {name: buffer.clone() for name, buffer in run.network.named_buffers()}
    index = np.arange(run.loaders.batch // distributed.count())
    images, targets = prepare_training(run)(run.loaders.train.dataset[0, index], run.device, False)
    run.network.train()
    run.recipe.loss(forward(images), targets).backward()
    for parameter in run.network.parameters():
        parameter.grad = None
    for name, buffer in run.network.named_buffers():
        buffer.copy_(buffers[name])


def make_evaluator(run: Run) -> Engine:
    """Build an engine that keeps logits and targets of an epoch; metrics weigh every image once.

    Each process runs over its share, and all of them have the whole. After run(): state.logits (N,C) float32,
    state.targets (N,) int64, both on the CPU in the split's order, and state.metrics "loss" (cross entropy, nats) and
    "accuracy" (a fraction).
    """
    evaluator = create_supervised_evaluator(
        run.network,
        device=run.device,
        non_blocking=True,
        prepare_batch=prepare_evaluation(run),
        model_fn=forward_in(run.precision, run.device, []),
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


def loss_and_accuracy(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Mean cross entropy in nats, summed in float64 in the images' order, and the fraction that is right."""
    loss = nn.functional.cross_entropy(logits.double(), targets)
    correct = (logits.argmax(1) == targets).sum()
    return {"loss": loss.item(), "accuracy": correct.item() / len(targets)}


def make_optimizer(run: Run) -> torch.optim.Optimizer:
    """Build the recipe's optimizer over what trains; named ones in torch's fused form where there is one."""
    parameters = [p for p in run.model.parameters() if p.requires_grad]
    if callable(run.recipe.optimizer):
        return run.recipe.optimizer(parameters, run.recipe.lr)
    make = optimizer_class(run.recipe.optimizer)
    options: dict[str, Any] = {"lr": run.recipe.lr}
    options |= {"fused": True} if "fused" in make.__init__.__code__.co_varnames else {}
    return make(parameters, **options)


def make_loss(run: Run) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the recipe's loss; on the CPU it also stops at the first that is not finite, before it is applied."""
    if run.device.type != "cpu":
        return run.recipe.loss  # looked at once an epoch instead: looking waits for the device

    def checked_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = run.recipe.loss(logits, targets)
        if not math.isfinite(loss.item()):  # waits for nothing on a CPU
            state = run.trainer.state
            raise not_finite(run, f"epoch {state.epoch}, iteration {state.iteration}")
        return loss

    return checked_loss


def not_finite(run: Run, where: str) -> UserError:
    """Return the error for a loss that is NaN or infinite."""
    lr = run.optimizer.param_groups[0]["lr"]
    return UserError(
        f"the loss is not finite in {where} at learning rate {lr:.3g}",
        run.directory,
        f"Try a smaller one, `--set lr={lr / 10:.1g}`, or `--set precision=fp32`. The last good checkpoint is kept.",
    )


def prepare_training(run: Run) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """(uint8 images, targets, u) -> augmented, normalised float32 images and targets, on the device."""
    operations, preprocessing = run.recipe.augment, run.preprocessing
    if run.plan.kind == "features":
        return prepare_features

    def prepare(batch: Batch, device: torch.device, non_blocking: bool) -> tuple[torch.Tensor, torch.Tensor]:
        images, targets, u = (tensor.to(device, non_blocking=non_blocking) for tensor in batch)
        images = augment(images, u, operations, preprocessing.crop)
        return normalize(images, preprocessing), targets

    return prepare


def prepare_features(batch: Batch, device: torch.device, non_blocking: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(features, targets, ...) to the device: augmentation and normalisation lie behind them."""
    features, targets = (tensor.to(device, non_blocking=non_blocking) for tensor in batch[:2])
    if features.ndim == 4:  # as they came out of the network: another layout, other bits
        features = features.contiguous(memory_format=torch.channels_last)
    return features, targets


def prepare_evaluation(run: Run) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """(uint8 images, targets) -> normalised float32 centre crops and targets, on the device. Nothing random."""
    preprocessing = run.preprocessing
    if run.plan.kind == "features":
        return prepare_features

    def prepare(batch: Batch, device: torch.device, non_blocking: bool) -> tuple[torch.Tensor, torch.Tensor]:
        images, targets = (tensor.to(device, non_blocking=non_blocking) for tensor in batch)
        return normalize(center_crop(images, preprocessing.crop), preprocessing), targets

    return prepare


def forward_in(
    precision: str, device: torch.device, frozen: list[nn.Module]
) -> Callable[[nn.Module, torch.Tensor], torch.Tensor]:
    """Return Ignite's model_fn: the forward pass under autocast, its logits in float32.

    In bf16 the cross entropy itself would be computed in bf16 otherwise (2.5625 for 2.5777). Ignite's step calls
    model.train() every iteration, so what is frozen goes back to eval mode every iteration too.
    """
    dtype = autocast_dtype(precision)

    def forward(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
        keep_frozen(frozen)
        if dtype is None:
            return model(images)
        with torch.autocast(device.type, dtype):
            return model(images).float()

    return forward


def state_that_changes(run: Run) -> dict[str, torch.Tensor]:
    """Return the model's state without what is frozen: parameters without gradient, buffers of frozen modules."""
    still = {id(p) for p in run.model.parameters() if not p.requires_grad}
    still |= {id(b) for module in run.frozen for b in module.buffers()}
    names = dict(run.model.named_parameters()) | dict(run.model.named_buffers())
    return {name: t for name, t in run.model.state_dict().items() if id(names.get(name)) not in still}


def _loss_scaling(precision: str) -> dict[str, Any]:
    """fp16 gradients underflow without a GradScaler; Ignite brings one, on CUDA only."""
    return {"amp_mode": "amp", "scaler": True} if precision == "fp16" else {}
