"""A finding: what was found, what follows from it, and what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

LEVELS = ("must", "look", "note")  # to be fixed before training; to be looked at; good to know
SHOWN = 20  # images that a finding names


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line about the data. level: of LEVELS. n: how many images, pairs or classes, as the message says."""

    kind: str
    level: str
    n: int
    message: str
    next_step: str
    images: tuple[str, ...] = ()
    """Ids of the first 20."""
    file: str | None = None
    """Where the rest is, beside check.json."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain values, as check.json has them."""
        return {**dataclasses.asdict(self), "images": list(self.images)}

    def line(self) -> str:
        """Message and next step."""
        return f"{self.message}. {self.next_step}"


def worst_first(found: Iterable[Finding]) -> list[Finding]:
    """By level; within one as they were found."""
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def counted(n: int, noun: str) -> str:
    """`1 image`, `1,200 images`, `2 classes`, `2 batches`, `2 epochs`."""
    plural = f"{noun}es" if noun.endswith(("s", "tch", "sh", "x")) else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"


def listed(names: Iterable[str], most: int = 3) -> str:
    """The first names in quotes, and how many more there are."""
    everything = list(names)
    more = f" and {len(everything) - most:,} more" if len(everything) > most else ""
    return ", ".join(f"'{name}'" for name in everything[:most]) + more
