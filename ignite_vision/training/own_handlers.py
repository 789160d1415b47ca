"""What a recipe's own handlers attached to the trainer, and what a resume owes to them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from torch.utils._pytree import tree_map_only

from ignite_vision.errors import UserError
from ignite_vision.system import distributed
from ignite_vision.training.run import Run
from ignite_vision.training.saving import first_odd

Entry = tuple[Any, Any, Any]  # Ignite's: a function, and what it is called with
CONFIGURATION = (Engine, slice, torch.device)  # with functions: what a metric has and does not count


class OwnHandlers:
    """What `recipe.handlers(run)` attached to the trainer, and the part of its state that Ignite does not keep.

    Ignite fires EPOCH_STARTED again when a run resumes within an epoch, and STARTED in every command: a rate that is
    halved there would be halved twice, and a metric would begin again and cover the rest alone. So an epoch is started
    once, a metric is begun once, and the state of metrics is in the checkpoint, as is a call of `terminate()`.
    """

    def __init__(self, run: Run):
        self.trainer = run.trainer
        self.started = 0  # the last epoch whose EPOCH_STARTED is over
        before = {id(entry) for entries in _handlers(run.trainer).values() for entry in entries}
        if run.recipe.handlers is not None:
            run.recipe.handlers(run)
        self.entries = {
            event: [entry for entry in entries if id(entry) not in before]
            for event, entries in _handlers(run.trainer).items()
        }
        self.metrics = MetricStates([metric for entries in self.entries.values() for metric in _metrics(entries)])
        run.saver.keep("metrics", self.metrics)
        run.saver.keep("own_handlers", self)
        over_epochs = MetricStates(_metrics(self.entries.get(Events.STARTED, [])))
        if over_epochs.odd:
            hint = "Let it hold tensors, numbers, and lists or dicts of these, or attach it to the epochs."
            raise UserError(f"the state of {over_epochs.odd} cannot be saved, and spans epochs", next_step=hint)
        if self.metrics.odd:
            run.saver.only_after_epochs = True
            what = f"the state of {self.metrics.odd} cannot be saved"
            run.say(f"warning: {what}: the run is saved at the ends of epochs only, and resumes from there")
        run.trainer.add_event_handler(Events.TERMINATE_SINGLE_EPOCH, _refuse_half_an_epoch)
        run.trainer.add_event_handler(Events.EPOCH_STARTED, self._note)

    def _note(self) -> None:
        self.started = self.trainer.state.epoch

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: which epoch is started, whether a handler has ended the run, what metrics gave last."""
        return {
            "started": self.started,
            "terminated": bool(self.trainer.should_terminate),
            "values": {name: value for name, value in self.trainer.state.metrics.items() if not first_odd(value)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.started = state["started"]
        self.trainer.state.metrics = dict(state["values"])
        if state["terminated"]:
            self.trainer.terminate()

    def resume(self) -> None:
        """Leave out what has been started already, once. To be called when the checkpoint's states are loaded."""
        if self.trainer.should_terminate:  # that epoch ends where it is, and Ignite counts whole ones
            self.trainer.state.epoch = self.started
        entries = self.entries.get(Events.STARTED, [])
        self._leave_out(Events.STARTED, [entry for entry in entries if _metrics([entry])])
        if self.started > self.trainer.state.epoch:  # which Ignite counts up when it starts the next
            self._leave_out(Events.EPOCH_STARTED, self.entries.get(Events.EPOCH_STARTED, []))

    def _leave_out(self, event: Events, left_out: list[Entry]) -> None:
        """Take handlers of an event away until the first batch is asked for, when it has been fired."""
        whole, handlers = list(_handlers(self.trainer)[event]), _handlers(self.trainer)
        handlers[event] = _without(whole, left_out)

        def put_back() -> None:
            handlers[event] = whole + _without(handlers[event], whole)  # some may have come since
            handle.remove()

        handle = self.trainer.add_event_handler(Events.GET_BATCH_STARTED, put_back)


class MetricStates:
    """All that metrics count, whatever attributes it is in.

    Not Ignite's own Metric.state_dict (0.5): EpochMetric's cannot be loaded, IoU's not be made, CohenKappa's is empty.
    odd: a metric that holds what no checkpoint can, and what that is.
    """

    def __init__(self, attached: list[Metric]):
        self.metrics = list({id(metric): metric for one in attached for metric in _reachable(one)}.values())
        self.odd = next(filter(None, map(_odd, self.metrics)), "")

    def state_dict(self) -> dict[str, Any]:
        """Every process's numbers. ValueError for what cannot be saved. Every process must call this."""
        if not self.odd and (odd := next(filter(None, map(_odd, self.metrics)), "")):
            raise ValueError(odd)
        return {"processes": distributed.gather([_plain_attributes(metric) for metric in self.metrics])}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`. Nothing if the number of processes is another, which is not exact anyway."""
        parts = state["processes"]
        if len(parts) != distributed.count():
            return
        for metric, values in zip(self.metrics, parts[distributed.rank()], strict=True):
            move = functools.partial(torch.Tensor.to, device=metric._device)
            vars(metric).update(tree_map_only(torch.Tensor, move, values))


def _reachable(value: Any) -> Iterator[Metric]:
    """A metric, and those that it is computed from."""
    if isinstance(value, Metric):
        yield value
        value = vars(value)
    if isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _reachable(part)


def _odd(metric: Metric) -> str:
    """The first of a metric's attributes that is neither plain, nor configuration, nor another metric."""
    for name, value in vars(metric).items():
        if first_odd(value) and not _is_configuration(value):
            return f"{type(metric).__name__}.{name}: {first_odd(value)}"
    return ""


def _is_configuration(value: Any) -> bool:
    if isinstance(value, Mapping | list | tuple):
        return all(map(_is_configuration, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, (*CONFIGURATION, Metric)) or callable(value) or not first_odd(value)


def _plain_attributes(metric: Metric) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(metric).items()
        if not isinstance(value, CONFIGURATION) and not first_odd(value)
    }


def _refuse_half_an_epoch(iter_counter: int) -> None:
    """UserError: which images come next is a function of the trainer's iteration, and would be others."""
    del iter_counter  # so Ignite calls it
    hint = "Use trainer.terminate(), or a Recipe with fewer images."
    raise UserError("a handler ended an epoch early with terminate_epoch()", next_step=hint)


def _handlers(trainer: Engine) -> dict[Any, list[Entry]]:
    return trainer._event_handlers  # Ignite has no public way to list them


def _without(entries: list[Entry], others: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if not any(entry is other for other in others)]


def _metrics(entries: list[Entry]) -> list[Metric]:
    """The metrics that handlers belong to, also behind a filter such as `every=`."""
    owners = [getattr(inspect.unwrap(function), "__self__", None) for function, _, _ in entries]
    return [owner for owner in owners if isinstance(owner, Metric)]
