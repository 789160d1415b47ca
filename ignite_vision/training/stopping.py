"""Stopping a training by a signal: when it is heeded, what is saved, what is said."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ignite.engine import Events

from ignite_vision.errors import Stopped
from ignite_vision.loading.workers import WorkerKilled, kill_workers
from ignite_vision.system import distributed
from ignite_vision.system.signals import StopFlag
from ignite_vision.training.handlers import Validation
from ignite_vision.training.run import Run


@contextlib.contextmanager
def saved_when_stopped(run: Run, validation: Validation) -> Iterator[None]:
    """Within, a signal ends the training where an optimizer step is done, and what is done is saved.

    Raises Stopped then; WorkerKilled, after saving, when a loader worker is gone.
    """
    with StopFlag(lambda number: distributed.largest(number)[0]) as flag:
        watch(run, flag, validation)
        try:
            yield
            flag.check()
        except (Stopped, WorkerKilled) as stop:
            kill_workers()  # they may hang; asked to end, they would be waited for
            saved = save_if_whole(run, validation)
            if isinstance(stop, WorkerKilled):
                raise
            at = f"{stop.what} after iteration {run.trainer.state.iteration}, {saved}"
            raise Stopped(f"{at}. Resume with: ignite-vision resume {run.directory}", stop.code) from None
        run.save()
        flag.check()


def watch(run: Run, flag: StopFlag, validation: Validation) -> None:
    """Look for signals where an optimizer step is done, and have the flag know when a batch is waited for.

    Within an epoch's end only our own validation is interrupted, before anything of the epoch has changed: in a
    recipe's handler, which may run the evaluator as well, the rest of the handler would be lost.
    """

    def check() -> None:
        if not run.trainer.should_terminate:  # a handler ends the run: that is what is saved
            flag.check()

    def check_validation() -> None:
        if validation.running:
            flag.check()

    for engine in (run.trainer, run.evaluator):
        engine.add_event_handler(Events.GET_BATCH_STARTED, flag.wait)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, flag.have)
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(every=run.recipe.accumulate), check)
    run.evaluator.add_event_handler(Events.ITERATION_COMPLETED, check_validation)


def save_if_whole(run: Run, validation: Validation) -> str:
    """Save, unless that would lose gradients of half a step, or what half of an epoch's end did. What was done."""
    if run.trainer.state.iteration % run.recipe.accumulate:
        return "in the middle of an optimizer step; resuming starts from the previous checkpoint"
    if validation.closing:
        return "at the end of an epoch that is not recorded yet; resuming starts from the previous checkpoint"
    run.save()
    return "saved"
