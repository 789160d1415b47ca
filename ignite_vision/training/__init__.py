"""Training, on one page."""

from __future__ import annotations

from ignite.engine import Events

from ignite_vision.errors import Stopped
from ignite_vision.loading.batches import train_batch
from ignite_vision.loading.features import settle, source_of
from ignite_vision.loading.loaders import Loaders, eval_loader, train_loader
from ignite_vision.loading.workers import WorkerKilled, kill_workers
from ignite_vision.system import distributed
from ignite_vision.system.signals import StopFlag
from ignite_vision.training.engines import make_engines
from ignite_vision.training.handlers import (
    count_training,
    evaluate_each_epoch,
    keep_best,
    log_tensorboard,
    record_history,
    schedule_lr,
    show_progress,
    stop_early,
)
from ignite_vision.training.run import Run
from ignite_vision.training.saving import is_validated, restore, save_checkpoints


def build(run: Run) -> None:
    """Make the engines and the loaders: everything that an epoch needs, with nothing attached yet."""
    settle(run)
    assemble(run)


def assemble(run: Run) -> None:
    """Make loaders and engines for the plan that is settled."""
    train, val = source_of(run, "train"), source_of(run, "val")
    run.loaders = Loaders(
        train=train_loader(run, train),
        val=eval_loader(run, val, run.splits.val.targets),
        batch=train_batch(run.recipe, len(run.splits.train)),
    )
    make_engines(run)


def fit(run: Run) -> None:
    """Train a run that is built, from its newest good checkpoint or from the start, to the recipe's last epoch.

    Raises Stopped when a signal ends it early, with the last finished iteration saved.
    """
    # Ignite calls handlers in the order in which they were attached: these lines are one epoch, top to bottom.
    count_training(run)
    schedule_lr(run)
    evaluate_each_epoch(run)
    keep_best(run)
    stop_early(run)
    record_history(run)
    if run.recipe.handlers is not None:
        run.recipe.handlers(run)  # the author's own @run.trainer.on(Events...)
    show_progress(run)
    log_tensorboard(run)
    save_checkpoints(run)  # last: a checkpoint contains the effect of everything above

    restore(run)
    run.at_end.callback(run.loaders.close)
    with StopFlag(lambda number: distributed.largest(number)[0]) as flag, run.at_end:
        watch(run, flag)
        try:
            if owes_validation(run):  # stopped between an epoch's last iteration and its end
                run.trainer.fire_event(Events.EPOCH_COMPLETED)
            if not is_trained(run):
                run.trainer.run(run.loaders.train, max_epochs=run.recipe.epochs)
            flag.check()
        except (Stopped, WorkerKilled) as stop:
            kill_workers()  # they may hang; asked to end, they would be waited for
            saved = save_if_whole(run)
            if isinstance(stop, WorkerKilled):
                raise
            at = f"{stop.what} after iteration {run.trainer.state.iteration}, {saved}"
            raise Stopped(f"{at}. Go on with: ignite-vision resume {run.directory}", stop.code) from None
        run.save()
        flag.check()


def watch(run: Run, flag: StopFlag) -> None:
    """Look for signals where an optimizer step is done, and have the flag know when a batch is waited for."""
    for engine, every in ((run.trainer, run.recipe.accumulate), (run.evaluator, 1)):
        engine.add_event_handler(Events.GET_BATCH_STARTED, flag.wait)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, flag.have)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=every), flag.check)


def save_if_whole(run: Run) -> str:
    """Save, unless gradients of half an accumulated step would be lost. What was done, in words."""
    if run.trainer.state.iteration % run.recipe.accumulate:
        return "within an optimizer step: it goes on from the checkpoint before"
    run.save()
    return "saved"


def owes_validation(run: Run) -> bool:
    """Whether the last finished iteration ended an epoch that was never validated: Ignite would not do it again."""
    iteration = run.trainer.state.iteration
    return iteration > 0 and iteration % len(run.loaders.train) == 0 and not is_validated(run)


def is_trained(run: Run) -> bool:
    """Whether there is nothing left to train: all epochs done, or stopped early."""
    rows = run.history.rows
    return bool(rows) and (rows[-1].stopped or rows[-1].epoch >= run.recipe.epochs)
