"""What happens around an iteration and an epoch, as plain Ignite handlers. training.fit attaches them in order."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import sys
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping, ParamScheduler, ProgressBar

from ignite_vision.errors import UserError
from ignite_vision.models.head import state_that_changes
from ignite_vision.models.state import tensors_and_extra
from ignite_vision.system import distributed
from ignite_vision.system.files import append_line
from ignite_vision.system.signals import StopFlag
from ignite_vision.training.engines import not_finite
from ignite_vision.training.history import EpochRow
from ignite_vision.training.meters import Meters
from ignite_vision.training.run import Run
from ignite_vision.training.scores import SCORES, loss_and_accuracy, rank
from ignite_vision.training.tensorboard import Scalars


def count_training(run: Run) -> Meters:
    """Sum loss and accuracy of each epoch while it trains, and look once at its end whether they are finite."""
    meters = Meters(run.device)
    meters.stopwatch.attach(run.trainer)
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED, meters.sums.update)
    run.saver.keep("sums", meters.sums)

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def refuse_a_loss_that_is_not_finite(trainer: Engine) -> None:
        loss, _ = meters.sums.means()
        meters.stopwatch.stop()
        if not math.isfinite(loss):
            raise not_finite(f"epoch {trainer.state.epoch}", run.optimizer, run.directory)

    return meters


class Validation:
    """The last validation: its numbers, and how far the end of the epoch is that it belongs to."""

    def __init__(self) -> None:
        self.loss = self.accuracy = self.value = math.nan
        self.rank = float("-inf")  # the higher, the better
        self.closing = False  # from its end to the row's: what follows may have changed half of what it changes


def evaluate_each_epoch(run: Run, flag: StopFlag) -> Validation:
    """Run the evaluator over the validation split; run.evaluator.state then holds logits, targets and metrics.

    A signal ends it: nothing of the epoch's end has changed yet. None does where a recipe's handler runs the evaluator.
    """
    validation, score = Validation(), run.recipe.score

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        distributed.equalise_buffers(run.model)
        with flag.watching(run.evaluator):
            run.evaluator.run(run.loaders.val)
        validation.closing = True
        state: Any = run.evaluator.state
        validation.loss, validation.accuracy = state.metrics["loss"], state.metrics["accuracy"]
        validation.value = SCORES[score](state.logits, state.targets)
        validation.rank = rank(score, validation.value, validation.loss, len(run.splits.val))

    return validation


def judge_strength(run: Run, validation: Validation) -> None:
    """Record the strength of logistic regression, and judge it by cross-validation where validation images are few.

    The run ends with the first strength that changes nothing.
    """
    if run.plan.head != "logistic":
        return
    solver: Any = run.optimizer

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def judge() -> None:
        run.history.record("strength", solver.strength, show=True)
        if solver.settled:
            run.trainer.terminate()
        if solver.few:
            logits, targets = solver.held_out()
            loss, score = loss_and_accuracy(logits, targets)["loss"], run.recipe.score
            validation.value = SCORES[score](logits, targets)
            validation.rank = rank(score, validation.value, loss, len(targets))
            run.history.record(f"cv_{score}", validation.value, show=True)


def schedule_lr(run: Run, validation: Validation) -> None:
    """Attach the recipe's schedule, stepped once per optimizer step; one that waits for a plateau, once per epoch."""
    make, every = run.recipe.schedule, run.recipe.accumulate
    if make is None or run.plan.head == "logistic":  # which has no rate
        return
    steps = len(run.loaders.train) * run.recipe.epochs // every
    scheduler = cosine(run.optimizer, steps) if isinstance(make, str) else make(run.optimizer, steps)
    if not hasattr(scheduler, "state_dict"):
        what = f"the recipe's schedule returned {type(scheduler).__name__}, not a scheduler"
        raise UserError(what, next_step="Return one of torch.optim.lr_scheduler or of ignite.handlers.")
    run.saver.keep("scheduler", scheduler)
    if isinstance(scheduler, ParamScheduler):  # Ignite's own set the value before the step
        run.trainer.add_event_handler(Events.ITERATION_STARTED(every=every), scheduler)
    elif isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):

        @run.trainer.on(Events.EPOCH_COMPLETED)
        def look_for_a_plateau() -> None:
            higher_is_better = -validation.loss if run.recipe.score == "loss" else validation.value
            scheduler.step(higher_is_better if scheduler.mode == "max" else validation.loss)

    else:  # stepped directly: wrapped in Ignite's LRScheduler it would lag by one step

        @run.trainer.on(Events.ITERATION_COMPLETED(every=every))
        def step_schedule() -> None:
            scheduler.step()


def cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """From the learning rate to zero along half a cosine (Loshchilov, Hutter 2017)."""
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)


def keep_best(run: Run, validation: Validation) -> None:
    """Keep a copy of the best epoch's weights in memory: of the tensors that training changes."""
    run.saver.keep("best", run.best)

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def compare(trainer: Engine) -> None:
        if validation.rank > run.best.score:
            weights = {k: v.detach().clone() for k, v in state_that_changes(run.model, run.frozen).items()}
            extra = copy.deepcopy(tensors_and_extra(run.model.state_dict())[1])
            state = {"epoch": trainer.state.epoch, "score": validation.rank, "weights": weights, "extra": extra}
            run.best.load_state_dict(state)


def stop_early(run: Run, validation: Validation) -> None:
    """Ignite's EarlyStopping, on the trainer's epochs.

    Attached to the evaluator as its documentation shows, it would start again at each evaluation.
    """
    if run.recipe.patience is None:
        return
    early_stopping = EarlyStopping(run.recipe.patience, lambda _: validation.rank, run.trainer)
    early_stopping.logger.setLevel(logging.WARNING)  # the epoch's own line says that it stopped
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, early_stopping)
    run.saver.keep("early_stopping", early_stopping)


def record_history(run: Run, meters: Meters, validation: Validation) -> None:
    """Add the epoch to run.history: the recipe's handlers, which come next, see it and may record more."""
    run.saver.keep("history", run.history)

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def record(trainer: Engine) -> None:
        train_loss, train_accuracy = meters.sums.means()
        row = EpochRow(
            epoch=trainer.state.epoch,
            iteration=trainer.state.iteration,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=validation.loss,
            val_accuracy=validation.accuracy,
            lr=float(run.optimizer.param_groups[0]["lr"]),
            best=run.best.epoch == trainer.state.epoch,
            stopped=False,
            score=run.recipe.score,
        )
        run.history.begin_row(row)
        if run.recipe.score not in ("accuracy", "loss"):
            run.history.record(f"val_{run.recipe.score}", validation.value, show=True)


def write_history(run: Run, meters: Meters, validation: Validation) -> None:
    """Append the epoch to history.jsonl and timings.jsonl, with all that the recipe's handlers did."""

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def write(trainer: Engine) -> None:
        try:
            run.history.end_row(stopped=bool(trainer.should_terminate))
            if distributed.is_first():
                append_line(run.directory.timings, timing(run, meters))
        except OSError as error:
            run.say(f"warning: {error.strerror}: the epoch is not in {error.filename}. The next save writes it.")
        meters.sums.reset()  # here and not at EPOCH_STARTED, which fires again when a run resumes within an epoch
        validation.closing = False


def timing(run: Run, meters: Meters) -> dict[str, float]:
    """The epoch's line in timings.jsonl: seconds of training alone, images per second, waiting for data, and saving.

    Of an epoch in which the run was taken up again: of what was left of it.
    """
    images = meters.stopwatch.images * distributed.count()
    return {
        "epoch": run.trainer.state.epoch,
        "seconds": round(meters.stopwatch.seconds, 4),
        "images_per_second": round(images / max(meters.stopwatch.seconds, 1e-9), 1),
        "data_seconds": round(meters.stopwatch.waited, 4),
        "save_seconds": round(run.saver.take_seconds(), 4),
    }


def show_progress(run: Run, meters: Meters) -> None:
    """One line per epoch on stderr; on a terminal also Ignite's bar within the epoch."""
    if distributed.is_first() and _is_terminal(sys.stderr):
        every = max(1, len(run.loaders.train) // 100)
        bar = ProgressBar(bar_format="{desc}[{n_fmt}/{total_fmt}] {percentage:3.0f}%|{bar}| {rate_fmt}", ncols=80)
        bar.attach(run.trainer, event_name=Events.ITERATION_COMPLETED(every=every))

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def say_epoch() -> None:
        row = run.history.rows[-1]
        run.say(epoch_line(row, run.recipe.epochs, meters.stopwatch.seconds, run.history.shown))


def _is_terminal(stream: Any) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def epoch_line(row: EpochRow, epochs: int, seconds: float, shown: set[str]) -> str:
    """The epoch as a person reads it. shown: recorded numbers to show."""
    more = "".join(f"  {name} {row.recorded[name]:.4g}" for name in sorted(shown & row.recorded.keys()))
    marks = ("  best" if row.best else "") + ("  stopped early" if row.stopped else "")
    return (
        f"epoch {row.epoch:>{len(str(epochs))}}/{epochs}"
        f"  train loss {row.train_loss:.4f} accuracy {row.train_accuracy:.3f}"
        f"  val loss {row.val_loss:.4f} accuracy {row.val_accuracy:.3f}{more}"
        f"  {seconds:.1f} s{marks}"
    )


def log_tensorboard(run: Run) -> contextlib.ExitStack:
    """Write the epoch's numbers for TensorBoard. A folder that cannot be written loses the curves, not the run.

    Close what is returned when the training ends.
    """
    end = contextlib.ExitStack()
    if not distributed.is_first():
        return end
    log: Scalars | None = None
    given_up = False

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def write_scalars() -> None:
        nonlocal log, given_up
        if given_up:
            return
        row = run.history.rows[-1]
        names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")
        values = {name.replace("_", "/", 1): getattr(row, name) for name in names}
        try:
            if log is None:
                log = Scalars(run.directory.tensorboard, row.epoch)
                end.callback(log.close)
            log.write(values | row.recorded, row.epoch)
        except (OSError, ModuleNotFoundError) as error:
            given_up = True
            run.say(f"warning: no more curves for TensorBoard: {error}. Training continues.")

    return end
