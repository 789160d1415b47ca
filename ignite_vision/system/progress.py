"""Lines that say how long something will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

REPORT_EVERY = 5.0  # seconds between progress lines


def with_progress(items: Iterable[T], total: int, what: str, say: Callable[[str], None]) -> Iterator[T]:
    """Yield the items, with a line every few seconds that says how long the rest will take."""
    begin = last = time.monotonic()
    for done, item in enumerate(items):
        yield item
        now = time.monotonic()
        if now - last > REPORT_EVERY:
            last, share = now, (done + 1) / total
            say(f"{what}: {share:.0%}, {(now - begin) * (1 - share) / share:,.0f} s to go")
