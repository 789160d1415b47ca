"""What `check` says of labels that were judged, or why they were not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ignite_vision.evaluation.label_errors import Suspect
from ignite_vision.health.collection import Collection
from ignite_vision.health.findings import SHOWN, Finding, counted

FILE = "label_suspects.csv"
KIND = "label_suspects"


def label_findings(images: Collection, suspects: Sequence[Suspect], model: str) -> Iterator[Finding]:
    """Yield how many labels may be wrong, the most doubtful by name, and how much accuracy is at stake.

    model: whose features they were judged by.
    """
    if not suspects:
        return
    first = suspects[0]
    message = f"{counted(len(suspects), 'label')} to check, by features of {model}: {first.path} looks like "
    message += f"'{first.looks_like}' ({first.p_other:.2f}){at_stake(images, suspects)}"
    names = tuple(suspect.path for suspect in suspects[:SHOWN])
    next_step = f"Look at them, in {FILE}: some are wrong, some only hard."
    yield Finding(KIND, "look", len(suspects), message, next_step, names, FILE)


def at_stake(images: Collection, suspects: Sequence[Suspect]) -> str:
    """`; 3 are in test, 1.4 % of its accuracy`, and nothing where none is."""
    wrong, total = sum(suspect.split == "test" for suspect in suspects), int(images.in_split("test").sum())
    if not wrong:
        return ""
    return f"; {wrong:,} {'is' if wrong == 1 else 'are'} in test, up to {100 * wrong / total:.1f} % of its accuracy"


def looks(suspects: Sequence[Suspect]) -> dict[str, str]:
    """Id of an image -> what stands under its thumbnail."""
    return {s.path: f"labelled {s.label}, looks like {s.looks_like} ({s.p_other:.2f})" for s in suspects}


def not_judged(reason: str, next_step: str) -> Finding:
    """A note that says why there is nothing on labels."""
    return Finding("labels_not_judged", "note", 0, f"labels were not judged: {reason}", next_step)
