"""Time two ways of doing the same in alternation, and quote the median ratio: machines are noisy, ratios less so."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table. times: how many times faster ours is; spread: of the rounds."""

    work: str
    against: str
    times: float
    spread: str
    target: str
    note: str = ""

    def markdown(self) -> str:
        """The line."""
        return f"| {self.work} | {self.against} | **{self.times:.2f}** ({self.spread}) | {self.target} | {self.note} |"


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, with the device's work done: all that was begun before, and all of this."""
    wait_for(device)
    begin = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - begin


def wait_for(device: torch.device) -> None:
    """Let the device finish; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratios(
    ours: Callable[[], object], theirs: Callable[[], object], device: torch.device, rounds: int = 5
) -> tuple[float, str]:
    """Call both in turn, after one call each that does not count: (median of theirs / ours, its spread)."""
    return ratios_of(partial(seconds, ours, device), partial(seconds, theirs, device), rounds)


def ratios_of(ours: Callable[[], float], theirs: Callable[[], float], rounds: int = 5) -> tuple[float, str]:
    """As `ratios`, of two that return their own seconds."""
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    found = [b / a for a, b in pairs]
    return statistics.median(found), f"{min(found):.2f}–{max(found):.2f}"
