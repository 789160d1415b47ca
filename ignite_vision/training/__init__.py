"""Training, on one page."""

from __future__ import annotations

import contextlib

from ignite.engine import Events

from ignite_vision.training.handlers import (
    count_training,
    evaluate_each_epoch,
    judge_strength,
    keep_best,
    log_tensorboard,
    record_history,
    schedule_lr,
    show_progress,
    stop_early,
    write_history,
)
from ignite_vision.training.own_handlers import OwnHandlers
from ignite_vision.training.restoring import restore
from ignite_vision.training.run import Run
from ignite_vision.training.saving import save_checkpoints
from ignite_vision.training.stopping import end_early, saved_when_stopped, stop_flag


def fit(run: Run) -> None:
    """Train a run that is built, from its newest good checkpoint or from the start, to the recipe's last epoch.

    Raises Stopped when a signal ends it early, with the last finished iteration saved.
    """
    # Ignite calls handlers in the order in which they were attached: these lines are one epoch, top to bottom.
    flag = stop_flag(run)
    meters = count_training(run)
    validation = evaluate_each_epoch(run, flag)
    judge_strength(run, validation)
    schedule_lr(run, validation)
    keep_best(run, validation)
    stop_early(run, validation)
    record_history(run, meters, validation)
    own = OwnHandlers(run)  # the author's @run.trainer.on(Events...): the epoch has its row, not yet in the file
    write_history(run, meters, validation)
    show_progress(run, meters)
    log = log_tensorboard(run)
    save_checkpoints(run.saver)  # last: a checkpoint contains the effect of everything above

    restore(run, own)
    with log, contextlib.closing(run.loaders), saved_when_stopped(run, flag, validation):
        if owes_validation(run):  # stopped between an epoch's last iteration and its end
            run.trainer.fire_event(Events.EPOCH_COMPLETED)
        if not run.history.is_finished(run.recipe.epochs):
            run.trainer.run(run.loaders.train, max_epochs=run.recipe.epochs)
            end_early(run, meters)  # where a handler has terminated the trainer


def owes_validation(run: Run) -> bool:
    """Whether the last finished iteration ended an epoch that was never validated: Ignite would not do it again."""
    iteration = run.trainer.state.iteration
    if run.history.is_finished(run.recipe.epochs) or run.history.is_validated(iteration):
        return False
    whole = iteration > 0 and iteration % len(run.loaders.train) == 0
    return whole or bool(run.trainer.should_terminate)
