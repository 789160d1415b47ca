"""One training: its live objects, complete from the start."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from ignite.engine import Engine
from torch import nn

from ignite_vision.errors import UserError
from ignite_vision.loading.loaders import Loader, Loaders, train_loader
from ignite_vision.loading.plan import Plan, Rows
from ignite_vision.models.head import split_at_head
from ignite_vision.prepare import Prepared
from ignite_vision.system import distributed
from ignite_vision.training.engines import make_evaluator, make_optimizer, make_trainer, settle_order_of_addition
from ignite_vision.training.history import History
from ignite_vision.training.saving import RESERVED, Saver
from ignite_vision.training.scores import Best
from ignite_vision.training.strengths import by_logistic_regression


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Run(Prepared):
    """The live objects of one training: what a recipe's `handlers(run)` gets.

    `trainer` and `evaluator` are Ignite's own engines: hook any event with `@run.trainer.on(Events...)`.
    trainer.state.output and evaluator.state.output hold "y_pred" (logits (N,C) float32) and "y" (targets (N,)
    int64), so that Ignite's metrics attach as they are; the trainer's also "loss". `network` is what the engines
    run: the model, or its head alone where features are cached.
    """

    plan: Plan
    network: nn.Module
    rows: Rows
    loaders: Loaders
    optimizer: torch.optim.Optimizer
    trainer: Engine
    evaluator: Engine
    history: History
    best: Best
    saver: Saver

    @property
    def exact(self) -> bool:
        """Whether every iteration so far was computed in one and the same environment."""
        return self.history.exact

    def persist(self, name: str, holder: Any) -> None:
        """Put a handler's own state into every checkpoint: `holder` has state_dict and load_state_dict.

        ValueError for a name that is taken or the run's own.
        """
        if name in RESERVED:
            raise ValueError(f"'{name}' is reserved for the run: choose another name")
        if not (hasattr(holder, "state_dict") and hasattr(holder, "load_state_dict")):
            raise ValueError(f"'{name}' has no state_dict and load_state_dict")
        self.saver.keep(name, holder)

    def save(self) -> None:
        """Write a checkpoint now. UserError when the state is not finite (exit 2) or the disk full (exit 4)."""
        self.saver.save()


def refuse_too_few_images(prepared: Prepared) -> None:
    """UserError if the training images do not fill the passes of one optimizer step."""
    n, passes = len(prepared.splits.train), prepared.recipe.accumulate
    if n < passes:
        what = f"accumulate={passes} needs as many training images, and there are {n}"
        raise UserError(what, next_step=f"Use --set accumulate={n} at most, with a batch_size that it divides.")


def by_optimizer(
    prepared: Prepared, plan: Plan, network: nn.Module, rows: Rows
) -> tuple[torch.optim.Optimizer, Engine, Loader]:
    """Make what trains a network by the recipe's optimizer, in batches."""
    in_parallel = distributed.in_parallel(network, prepared.device)
    optimizer = make_optimizer(prepared)
    trainer = make_trainer(prepared, plan, in_parallel, optimizer)
    train = train_loader(prepared, rows["train"], lambda: trainer.state.iteration)
    settle_order_of_addition(prepared, plan, in_parallel, train)
    return optimizer, trainer, train


def build(prepared: Prepared, plan: Plan, rows: Rows | None = None) -> Run:
    """Make the loaders and engines that an epoch needs, with nothing attached yet. rows: those, made before."""
    refuse_too_few_images(prepared)
    network = split_at_head(prepared.model)[1] if plan.kind == "features" else prepared.model
    rows = rows or Rows(prepared, plan)
    if plan.head == "logistic":
        optimizer, trainer, train = by_logistic_regression(prepared, network, rows)
    else:
        optimizer, trainer, train = by_optimizer(prepared, plan, network, rows)
    history, best = History(prepared.directory.history), Best()
    return Run(
        **{field.name: getattr(prepared, field.name) for field in dataclasses.fields(Prepared)},
        plan=plan,
        network=network,
        rows=rows,
        loaders=Loaders(train=train, val=rows.eval_loader("val")),
        optimizer=optimizer,
        trainer=trainer,
        evaluator=make_evaluator(network, prepared.preprocessing, prepared.precision, prepared.device, plan.kind),
        history=history,
        best=best,
        saver=Saver(prepared, plan, optimizer, trainer, history, best, len(train)),
    )
