"""A whole command: train, evaluate the best epoch, leave the files; and what is printed on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ignite_vision.data.splits import fingerprint
from ignite_vision.errors import UserError
from ignite_vision.evaluation.metrics import metrics
from ignite_vision.evaluation.predictions import Predictions, predict_split, use_best_weights
from ignite_vision.evaluation.tables import write_results
from ignite_vision.identity import fields_of
from ignite_vision.loading.features import settle
from ignite_vision.loading.plan import Plan
from ignite_vision.models import families as models
from ignite_vision.models.model_file import read_header, write_model
from ignite_vision.report.curves import write_curves
from ignite_vision.run_directory import claim, is_run, read_settings
from ignite_vision.system import distributed
from ignite_vision.system.files import write_atomically
from ignite_vision.training import assemble, build, fit, is_trained
from ignite_vision.training.run import Run
from ignite_vision.training.settings import changed_environment, changed_source, refuse_changes, write_settings

REHEARSED_BATCHES = 2


def train_and_evaluate(run: Run, announce: Callable[[], None]) -> tuple[dict[str, Any], bool]:
    """Train to the end and evaluate the best epoch on the test split. (metrics, whether all was done before)."""
    lock = claim(run.directory)
    agree_on_data(run)
    try:
        if distributed.agree(lambda: is_run(run.directory) and take_up(run)):
            return distributed.agree(lambda: json.loads((run.directory / "metrics.json").read_text("utf-8"))), True
        build(run)
        if not is_run(run.directory):
            write_settings(run)
        announce()
        fit(run)
        return finish(run), False
    finally:
        if lock is not None:
            lock.close()


def agree_on_data(run: Run) -> None:
    """UserError if a process has other images than the first: another machine's folder differs."""
    if distributed.count() > 1 and len(set(distributed.everyones(fingerprint(run.splits)))) > 1:
        raise UserError("the processes do not have the same images", run.data, "Copy the data to every machine.")


def take_up(run: Run) -> bool:
    """Check a run that exists against this command. True if there is nothing left to do."""
    settings = read_settings(run.directory)
    refuse_changes(run, settings)
    changes = changed_environment(run, settings) + changed_source(run)
    if changes:
        run.exact = False
        run.say(f"warning: from here on not exact, changed since this run began: {', '.join(changes)}")
    run.history.read()
    if is_trained(run) and (run.directory / "metrics.json").is_file():
        return True
    (run.directory / "metrics.json").unlink(missing_ok=True)  # of fewer epochs: it is what says that a run is finished
    if settings["recipe"]["epochs"] != run.recipe.epochs:  # a later `resume` goes as far
        if run.recipe.schedule is not None:
            run.exact = False
            run.say("note: the schedule of the learning rate depends on the number of epochs: not exact")
        settings["recipe"], settings["overrides"] = fields_of(run.recipe), run.overrides
        if distributed.is_first():
            write_atomically(run.directory / "run.json", json.dumps(settings, indent=2) + "\n")
    return False


def finish(run: Run) -> dict[str, Any]:
    """Publish the best epoch's weights and evaluate them on the test split, the only time that it is looked at."""
    state = {**run.model.state_dict(), **run.best.weights}
    run.model.load_state_dict(state)
    predictions = predict_split(run, "test")
    numbers = {**metrics(predictions, "test"), "exact": run.exact}
    if distributed.is_first():
        publish(run, state, predictions, numbers)
    return numbers


def publish(run: Run, state: dict[str, Any], predictions: Predictions, numbers: dict[str, Any]) -> None:
    """Write the model and every file about it."""
    write_model(run.directory / "model.safetensors", state, model_header(run, numbers))
    write_curves(run.history.rows, run.directory / "curves.svg", run.loaded.name)
    write_results(predictions, numbers, run.directory)


def model_header(run: Run, numbers: dict[str, Any]) -> dict[str, Any]:
    """What travels with the weights: all that predict, export and serve need to know."""
    return {
        "task": "single-label",
        "architecture": models.architecture(run.recipe.model),
        "num_classes": len(run.splits.classes),
        "classes": list(run.splits.classes),
        "preprocessing": run.preprocessing.to_dict(),
        "precision": run.precision,
        "metrics": {name: value for name, value in numbers.items() if name != "per_class"},
        "temperature": 1.0,
    }


def evaluate_run(run: Run, split: str) -> dict[str, Any]:
    """Evaluate a finished run's best model on a split; results of another split than test get a folder of their own."""
    use_best_weights(run)
    settle(run)
    predictions = predict_split(run, split)
    exact = read_header(run.directory / "model.safetensors")["metrics"].get("exact", False)
    same = not changed_environment(run, read_settings(run.directory), but=("processes",))  # evaluated alike by any
    numbers = {**metrics(predictions, split), "exact": exact and same}
    if distributed.is_first():
        folder = run.directory if split == "test" else run.directory / split
        folder.mkdir(exist_ok=True)
        write_results(predictions, numbers, folder)
    return numbers


def rehearse(run: Run) -> str:
    """Train and validate on two batches, of everything that the run would use, and write nothing."""
    settle(run)
    intended, run.plan, run.network = run.plan, Plan("none", "a dry run"), run.model
    assemble(run)
    run.plan = intended
    for engine, loader in ((run.trainer, run.loaders.train), (run.evaluator, run.loaders.val)):
        engine.run(loader, max_epochs=1, epoch_length=min(REHEARSED_BATCHES, len(loader)))
    run.loaders.close()
    output: Any = run.trainer.state.output
    loss = output["loss"].item()
    return f"dry run    two batches of train (loss {loss:.3f}) and validation went through; nothing was written"
