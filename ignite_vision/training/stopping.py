"""Stopping a training before its last epoch.

By a signal: when it is heeded, what is saved, what is said. By a handler of the recipe's: what ends with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ignite.engine import Events

from ignite_vision.errors import Stopped, UserError
from ignite_vision.loading.workers import WorkerKilled
from ignite_vision.system import distributed
from ignite_vision.system.process import kill_children
from ignite_vision.system.signals import StopFlag
from ignite_vision.training.handlers import Validation
from ignite_vision.training.meters import Meters
from ignite_vision.training.run import Run


def stop_flag(run: Run) -> StopFlag:
    """Make the flag that a signal sets. It learns that a batch has come before a recipe's handlers do."""
    flag = StopFlag(lambda number: distributed.largest(number)[0])
    run.trainer.add_event_handler(Events.GET_BATCH_COMPLETED, flag.have)
    return flag


@contextlib.contextmanager
def saved_when_stopped(run: Run, flag: StopFlag, validation: Validation) -> Iterator[None]:
    """Within, a signal ends the training where an optimizer step is done, and what is done is saved.

    Raises Stopped then; WorkerKilled, after saving, when a loader worker is gone.
    """
    with flag, flag.watching(run.trainer, run.recipe.accumulate):
        try:
            yield
            flag.check()
        except (Stopped, WorkerKilled) as stop:
            kill_children()  # workers may hang; asked to end, they would be waited for
            saved = save_if_whole(run, validation)
            if isinstance(stop, WorkerKilled):
                raise
            at = f"{stop.what} after iteration {run.trainer.state.iteration}, {saved}"
            raise Stopped(f"{at}. Resume with: ignite-vision resume {run.directory}", stop.code) from None
        run.save()
        flag.check()


def end_early(run: Run, meters: Meters) -> None:
    """Finish a training that a handler ended with `trainer.terminate()`; no other remains as it is.

    The epoch that it was in ends there, validated and recorded; if none of its iterations is done, the one before was
    the last. UserError if there is none, or the trainer was interrupted.
    """
    if run.history.is_finished(run.recipe.epochs):
        return
    if not run.trainer.should_terminate:
        hint = "End a training with trainer.terminate()."
        raise UserError("a handler interrupted the training with trainer.interrupt()", run.directory, hint)
    if meters.sums.images:
        run.trainer.fire_event(Events.EPOCH_COMPLETED)
    elif run.history.rows:
        run.history.end_with_last_row()
        run.trainer.state.iteration = run.history.rows[-1].iteration  # one may have been started
    else:
        hint = "Look at the recipe's handlers."
        raise UserError("a handler ended the training before its first iteration", run.directory, hint)


def save_if_whole(run: Run, validation: Validation) -> str:
    """Save, unless that would lose gradients of half a step, or what half of an epoch's end did. What was done."""
    if run.trainer.state.iteration % run.recipe.accumulate:
        return "in the middle of an optimizer step; resuming starts from the previous checkpoint"
    if validation.closing:
        return "at the end of an epoch that is not recorded yet; resuming starts from the previous checkpoint"
    if not run.saver.may_save:
        return "within an epoch that a metric must see whole; resuming starts from the previous checkpoint"
    run.save()
    return "saved"
