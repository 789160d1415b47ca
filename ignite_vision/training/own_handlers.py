"""A recipe's own handlers, and what a resume in the middle of an epoch owes to them."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from ignite.metrics import Metric

from ignite_vision.training.run import Run


class OwnHandlers:
    """What `recipe.handlers(run)` attached to the trainer.

    Ignite fires EPOCH_STARTED again when a run resumes within an epoch: a rate that is halved there would be halved
    twice, and a metric would begin again and cover the rest of the epoch alone. So what the recipe attached is left
    out of that one event, and the state of its metrics is in the checkpoint.
    """

    def __init__(self, run: Run):
        self.trainer = run.trainer
        before = _ids(run.trainer)
        if run.recipe.handlers is not None:
            run.recipe.handlers(run)
        added = [entry for entries in _handlers(run.trainer).values() for entry in entries if id(entry) not in before]
        self.at_start = [entry for entry in _handlers(run.trainer)[Events.EPOCH_STARTED] if id(entry) not in before]
        for number, metric in enumerate(_metrics(added)):
            run.saver.keep(f"metric {number}", metric)

    def resume_within_epoch(self) -> None:
        """Leave the recipe's handlers out of the next EPOCH_STARTED, which is no start."""
        entries = _handlers(self.trainer)[Events.EPOCH_STARTED]
        whole = list(entries)
        entries[:] = [entry for entry in entries if all(entry is not own for own in self.at_start)]

        @self.trainer.on(Events.GET_BATCH_STARTED)
        def put_back() -> None:
            if len(entries) != len(whole):
                entries[:] = whole


def _handlers(trainer: Engine) -> dict[Any, list[Any]]:
    return trainer._event_handlers  # Ignite has no public way to list them


def _ids(trainer: Engine) -> set[int]:
    return {id(entry) for entries in _handlers(trainer).values() for entry in entries}


def _metrics(entries: list[Any]) -> list[Metric]:
    """The metrics among handlers, each once, in the order in which they were attached."""
    owners = [getattr(function, "__self__", None) for function, _, _ in entries]
    return list({id(owner): owner for owner in owners if isinstance(owner, Metric)}.values())
