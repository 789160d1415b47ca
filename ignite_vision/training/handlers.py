"""What happens around an iteration and an epoch, as plain Ignite handlers. training.fit attaches them in order."""

from __future__ import annotations

import logging
import math
import sys

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping, ParamScheduler, ProgressBar

from ignite_vision.system import distributed
from ignite_vision.system.files import append_line
from ignite_vision.training.engines import not_finite, state_that_changes
from ignite_vision.training.history import EpochRow
from ignite_vision.training.run import Run
from ignite_vision.training.tensorboard import Scalars


def count_training(run: Run) -> None:
    """Sum loss and accuracy of each epoch while it trains, and look once at its end whether they are finite."""
    run.stopwatch.attach(run.trainer)
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED, run.sums.update)
    run.persist("sums", run.sums)

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def refuse_a_loss_that_is_not_finite(trainer: Engine) -> None:
        loss, _ = run.sums.means()
        run.stopwatch.stop()
        if not math.isfinite(loss):
            raise not_finite(run, f"epoch {trainer.state.epoch}")


def schedule_lr(run: Run) -> None:
    """Attach the recipe's schedule, stepped once per optimizer step."""
    make = run.recipe.schedule
    if make is None:
        return
    steps = len(run.loaders.train) * run.recipe.epochs // run.recipe.accumulate
    scheduler = cosine(run.optimizer, steps) if isinstance(make, str) else make(run.optimizer, steps)
    every = run.recipe.accumulate
    if isinstance(scheduler, ParamScheduler):  # Ignite's own set the value before the step
        run.trainer.add_event_handler(Events.ITERATION_STARTED(every=every), scheduler)
    else:  # stepped directly: wrapped in Ignite's LRScheduler it would lag by one step

        @run.trainer.on(Events.ITERATION_COMPLETED(every=every))
        def step_schedule() -> None:
            scheduler.step()

    run.persist("scheduler", scheduler)


def cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """From the learning rate to zero along half a cosine (Loshchilov, Hutter 2017)."""
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)


def evaluate_each_epoch(run: Run) -> None:
    """Run the evaluator over the validation split; run.evaluator.state then holds logits, targets and metrics."""

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        distributed.equalise_buffers(run.model)
        run.evaluator.run(run.loaders.val)


def score(run: Run) -> float:
    """Return what makes an epoch the best: images right, then lower loss. NaN is never best.

    One number, as Ignite's handlers compare: the loss moves it by less than one image does.
    """
    metrics = run.evaluator.state.metrics
    if not math.isfinite(metrics["loss"]):
        return float("-inf")
    return metrics["accuracy"] * len(run.splits.val) + 1 / (2 + 2 * metrics["loss"])


def keep_best(run: Run) -> None:
    """Keep a copy of the best epoch's weights in memory: of the tensors that training changes."""
    run.persist("best", run.best)

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def compare(trainer: Engine) -> None:
        if score(run) > run.best.score:
            weights = {k: v.detach().clone() for k, v in state_that_changes(run).items()}
            run.best.load_state_dict({"epoch": trainer.state.epoch, "score": score(run), "weights": weights})


def stop_early(run: Run) -> None:
    """Ignite's EarlyStopping, on the trainer's epochs.

    Attached to the evaluator as its documentation shows, it would start anew at each evaluation.
    """
    if run.recipe.patience is None:
        return
    early_stopping = EarlyStopping(run.recipe.patience, lambda _: score(run), run.trainer)
    early_stopping.logger.setLevel(logging.WARNING)  # the epoch's own line says that it stopped
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, early_stopping)
    run.persist("early_stopping", early_stopping)


def record_history(run: Run) -> None:
    """Append the epoch to run.history, history.jsonl and timings.jsonl."""

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def record(trainer: Engine) -> None:
        train_loss, train_accuracy = run.sums.means()
        metrics = run.evaluator.state.metrics
        row = EpochRow(
            epoch=trainer.state.epoch,
            iteration=trainer.state.iteration,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=metrics["loss"],
            val_accuracy=metrics["accuracy"],
            lr=run.optimizer.param_groups[0]["lr"],
            best=run.best.epoch == trainer.state.epoch,
            stopped=bool(trainer.should_terminate),
        )
        try:
            run.history.append(row)
            if distributed.is_first():
                append_line(run.directory / "timings.jsonl", timing(run))
        except OSError as error:
            run.say(f"warning: {error.strerror}: the epoch is not in {error.filename}. The next save makes up for it.")
        run.sums.reset()  # here and not at EPOCH_STARTED, which fires again when a run goes on in mid-epoch


def timing(run: Run) -> dict[str, float]:
    """The epoch's line in timings.jsonl: seconds of training alone, images per second, waiting for data, and saving."""
    saving, run.stopwatch.saving = run.stopwatch.saving, 0.0
    return {
        "epoch": run.trainer.state.epoch,
        "seconds": round(run.stopwatch.seconds, 4),
        "images_per_second": round(run.sums.images * distributed.count() / run.stopwatch.seconds, 1),
        "data_seconds": round(run.stopwatch.waited, 4),
        "save_seconds": round(saving, 4),
    }


def show_progress(run: Run) -> None:
    """One line per epoch on stderr; on a terminal also Ignite's bar within the epoch."""
    if sys.stderr.isatty() and distributed.is_first():
        every = max(1, len(run.loaders.train) // 100)
        bar = ProgressBar(bar_format="{desc}[{n_fmt}/{total_fmt}] {percentage:3.0f}%|{bar}| {rate_fmt}", ncols=80)
        bar.attach(run.trainer, event_name=Events.ITERATION_COMPLETED(every=every))

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def say_epoch() -> None:
        run.say(epoch_line(run.history.rows[-1], run.recipe.epochs, run.stopwatch.seconds))


def epoch_line(row: EpochRow, epochs: int, seconds: float) -> str:
    """The epoch as a person reads it."""
    marks = ("  best" if row.best else "") + ("  stopped early" if row.stopped else "")
    return (
        f"epoch {row.epoch:>{len(str(epochs))}}/{epochs}"
        f"  train loss {row.train_loss:.4f} accuracy {row.train_accuracy:.3f}"
        f"  val loss {row.val_loss:.4f} accuracy {row.val_accuracy:.3f}"
        f"  {seconds:.1f} s{marks}"
    )


def log_tensorboard(run: Run) -> None:
    """Write the epoch's numbers for TensorBoard. A folder that cannot be written loses the curves, not the run."""
    if not distributed.is_first():
        return
    log: Scalars | None = None
    given_up = False

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def write_scalars() -> None:
        nonlocal log, given_up
        if given_up:
            return
        row = run.history.rows[-1]
        names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")
        try:
            if log is None:
                log = Scalars(run.directory / "tensorboard", row.epoch)
                run.at_end.callback(log.close)
            log.write({name.replace("_", "/", 1): getattr(row, name) for name in names}, row.epoch)
        except (OSError, ModuleNotFoundError) as error:
            given_up = True
            run.say(f"warning: no more curves for TensorBoard: {error}. Training goes on.")
