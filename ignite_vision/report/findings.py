"""What a reader should know first, each with its consequence: the worst first, five at most."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from ignite_vision.evaluation.label_errors import Suspect
from ignite_vision.evaluation.label_findings import KIND
from ignite_vision.report.confusions import Pair
from ignite_vision.report.plots import percent
from ignite_vision.training.history import EpochRow

MOST = 5
FROM_CHECK = 2  # of what `check` found
LEVELS = ("bad", "warn", "note", "ok")
BY_HEART = 0.1  # accuracy on training images above that on validation, from which on it is said
IMPROVING = 0.95  # loss of the last epoch as a share of two epochs before, below which it was still learning
WIDE = 0.1  # of an interval of the accuracy
FEW, MUCH = 3, 0.03  # confusions of a pair, and their share of its images, that are worth a word


@dataclasses.dataclass(frozen=True)
class Finding:
    """level: bad, warn, note or ok. place: the section that shows more."""

    level: str
    text: str
    place: str


def findings(
    numbers: dict[str, Any],
    rows: Sequence[EpochRow],
    pairs: Sequence[Pair],
    suspects: Sequence[Suspect],
    check: dict[str, Any] | None,
) -> list[Finding]:
    """numbers: metrics.json. rows: of the history. check: check.json, if there is one."""
    found = [
        *of_check(check),
        *of_twins(numbers),
        *of_baseline(numbers),
        *of_training(rows),
        *of_labels(suspects),
        *of_pairs(pairs),
        *of_classes(numbers),
        *of_calibration(numbers),
        *of_size(numbers),
    ]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))[:MOST]


def of_check(check: dict[str, Any] | None) -> Iterator[Finding]:
    """Yield what `check` found in the data that must be fixed, or looked at."""
    levels = {"must": "bad", "look": "warn"}
    found = [finding for finding in (check or {}).get("findings", []) if finding.get("level") in levels]
    found = [finding for finding in found if finding.get("kind") != KIND]  # of_labels says it
    for finding in sorted(found, key=lambda finding: finding["level"] != "must")[:FROM_CHECK]:
        yield Finding(levels[finding["level"]], str(finding.get("message", "")), "data")


def of_twins(numbers: dict[str, Any]) -> Iterator[Finding]:
    """Yield how much better it looks by test images that it knew from training."""
    twins = numbers.get("twins")
    if twins and twins["in_train"]:
        n, without = twins["in_train"], twins["accuracy_without"]
        what = "1 test image has a near-identical twin" if n == 1 else f"{n:,} test images have a near-identical twin"
        then = f": without them, accuracy is {percent(without)}" if without is not None else ": all of them"
        low, high = (numbers.get("intervals") or {}).get("accuracy") or (0.0, 1.0)
        matters = without is None or not low <= without <= high
        yield Finding("bad" if matters else "warn", f"{what} among the training images{then}", "data")


def of_baseline(numbers: dict[str, Any]) -> Iterator[Finding]:
    """Yield that it may be no better than always saying the same."""
    base, intervals = numbers.get("baseline"), numbers.get("intervals")
    if base and intervals and intervals["accuracy"][0] <= base["accuracy"]:
        always = f"always saying “{base['class']}” would reach {percent(base['accuracy'])}"
        yield Finding("bad", f"it is not shown to be better than no model at all: {always}", "verdict")


def of_training(rows: Sequence[EpochRow]) -> Iterator[Finding]:
    """Yield that it knows its training images by heart, or was still learning when it ended."""
    best = next((row for row in reversed(rows) if row.best), rows[-1])
    if best.train_accuracy - best.val_accuracy > BY_HEART:
        there, here = percent(best.train_accuracy), percent(best.val_accuracy)
        what = f"it knows its training images better ({there}) than new ones ({here})"
        yield Finding("warn", f"{what}: more images, augmentation or a smaller model may help", "training")
    if len(rows) > 2 and best is rows[-1] and not best.stopped and best.val_loss < IMPROVING * rows[-3].val_loss:
        what = "it was still getting better when its last epoch ended: more epochs may help"
        yield Finding("warn", what, "training")


def of_labels(suspects: Sequence[Suspect]) -> Iterator[Finding]:
    """Yield how many labels look wrong."""
    if suspects:
        n = len(suspects)
        what = "1 image may carry the wrong label" if n == 1 else f"{n:,} images may carry the wrong label"
        yield Finding("warn", f"{what}: worth a look before training again", "labels")


def of_pairs(pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Yield the two classes that are confused most."""
    if pairs and pairs[0].n >= max(FEW, MUCH * pairs[0].of):
        worst = pairs[0]
        what = f"“{worst.first}” and “{worst.second}” are confused most: {worst.n:,} of their {worst.of:,} images"
        yield Finding("warn", what, "confusion")


def of_classes(numbers: dict[str, Any]) -> Iterator[Finding]:
    """Yield the weakest class, if its interval says that it really is below the others."""
    rated = [
        (row["accuracy"], name, row)
        for name, row in numbers["per_class"].items()
        if row["n"] and (row.get("interval") or (0, 1))[1] < numbers["accuracy"]
    ]
    if rated:
        accuracy, name, row = min(rated, key=lambda rated: (rated[0], rated[1]))
        yield Finding(
            "warn", f"weakest class: “{name}”, {percent(accuracy, 0)} of {row['n']:,} images found", "classes"
        )


def of_calibration(numbers: dict[str, Any]) -> Iterator[Finding]:
    """Yield whether its confidence can be believed."""
    calibration = numbers.get("calibration")
    if not calibration or None in (calibration["after"]["ece"], calibration["ece_if_perfect"]["p95"]):
        return
    off, perfect = calibration["after"]["ece"], calibration["ece_if_perfect"]
    beside = f"off by {percent(off)} on average, where a perfect model would show {percent(perfect['mean'])}"
    if off <= perfect["p95"]:
        yield Finding("ok", f"its confidence can be believed: {beside} on as many images", "confidence")
    else:
        yield Finding("warn", f"its confidence cannot quite be believed: {beside}", "confidence")


def of_size(numbers: dict[str, Any]) -> Iterator[Finding]:
    """Yield that the test images are too few to tell."""
    low, high = (numbers.get("intervals") or {}).get("accuracy") or (0.0, 0.0)
    if high - low > WIDE:
        what = f"{numbers['n']:,} test images leave the accuracy open between {percent(low)} and {percent(high)}"
        yield Finding("note", f"{what}: more of them would tell", "verdict")
