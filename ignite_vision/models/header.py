"""What the header of a model file says, judged field by field: it is data from a stranger."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ignite_vision.data.preprocessing import Preprocessing
from ignite_vision.errors import DAMAGED, UserError

TASK = "single-label"
PRECISIONS = ("fp32", "bf16", "fp16")
MAX_CLASSES = 100_000  # ImageNet-21k has 21,841
MAX_SIDE = 4096  # pixels per side that the preprocessing may ask for
MAX_BATCH = 65_536
MAX_VALUES = 1 << 31  # of a batch: 8 GiB in float32
MAX_TEXT = 2_000  # characters of what pretrained weights are called
MAX_IMAGES, MAX_THRESHOLDS = 10**12, 100  # of the images that the thresholds were chosen on
TEMPERATURES = (1e-3, 1e3)
MAX_MEAN, STDS = 1e6, (1e-6, 1e6)  # of values in [0, 1]; beyond, float32 ends in infinity


@dataclasses.dataclass(frozen=True)
class Header:
    """A checked header. precision: of the run's own results. temperature: divides the logits before softmax.

    abstain_below: the confidence below which an answer is not to be trusted; None where there is no such number.
    batch_size: images per forward pass in which the run was evaluated; None where an older version did not say.
    """

    architecture: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    precision: str
    temperature: float
    abstain_below: float | None
    batch_size: int | None


def check_header(header: Mapping[str, Any], path: Path) -> Header:
    """Return what a header says, every field within its bounds. UserError (exit 3) names the first that is not.

    header: from `read_header`. Whether the architecture is known is for `build_architecture` to say. Fields that are
    not known here are left alone.
    """
    for field, holds in CHECKS.items():
        if not holds(header.get(field)):
            raise _unusable(field, path)
    if header.get("num_classes") != len(header["classes"]):
        raise _unusable("num_classes", path)
    try:
        preprocessing = Preprocessing.from_dict(header["preprocessing"])
    except (TypeError, ValueError, UserError):
        raise _unusable("preprocessing", path) from None
    values = math.prod(preprocessing.size) * preprocessing.channels * (header.get("batch_size") or 1)
    if max(preprocessing.box) > MAX_SIDE or values > MAX_VALUES:
        raise _unusable("preprocessing", path)
    return Header(
        architecture=header["architecture"],
        classes=tuple(header["classes"]),
        preprocessing=preprocessing,
        precision=header["precision"],
        temperature=float(header["temperature"]),
        abstain_below=header.get("abstain_below"),
        batch_size=header.get("batch_size"),
    )


def _unusable(field: str, path: Path) -> UserError:
    return UserError(f"the model's header cannot be used: its {field}", path, "Train it again.", code=DAMAGED)


def _is_text(value: Any) -> bool:
    """Whether this is text that can be written: without halves of UTF-16's pairs."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_name(value: Any) -> bool:
    """Whether this is text, or came from a file's name, whose bytes that are no UTF-8 are kept as U+DC80 to U+DCFF."""
    return isinstance(value, str) and _is_text("".join(c for c in value if not "\udc80" <= c <= "\udcff"))


def _are_classes(value: Any) -> bool:
    """Whether this is a list of names, none twice."""
    return (
        isinstance(value, list)
        and 1 <= len(value) <= MAX_CLASSES
        and all(map(_is_name, value))
        and len(set(value)) == len(value)
    )


def _is_preprocessing(value: Any) -> bool:
    """Whether these are whole pixels and finite numbers within bounds; the rest `Preprocessing` judges itself."""
    return (
        isinstance(value, dict)
        and all(_is_whole(value.get(name), MAX_SIDE) for name in ("channels", "resize", "crop"))
        and all(isinstance(value.get(name), list) for name in ("mean", "std"))
        and all(_is_number(mean, -MAX_MEAN, MAX_MEAN) for mean in value["mean"])
        and all(_is_number(std, *STDS) for std in value["std"])
        and _is_shape(value.get("shape"))
    )


def _is_shape(value: Any) -> bool:
    """Whether this is (height, width) in whole pixels, or nothing."""
    return value is None or (isinstance(value, list) and len(value) == 2 and all(_is_whole(v, MAX_SIDE) for v in value))


def is_origin(value: Any) -> bool:
    """Whether this says where pretrained weights come from: {"source": text, "license": text or None}."""
    if not isinstance(value, dict) or not {"source", "license"} <= value.keys():
        return False
    source, licence = value["source"], "" if value["license"] is None else value["license"]
    return _is_name(source) and _is_text(licence) and max(len(source), len(licence)) <= MAX_TEXT


def is_calibration(value: Any) -> bool:
    """Whether this says what validation images decided: of which split, how many, and (share, threshold) pairs."""
    if not isinstance(value, dict) or not _is_text(value.get("fitted_on")):
        return False
    n, pairs = value.get("n"), value.get("thresholds")
    if not (n == 0 or _is_whole(n, MAX_IMAGES)) or not isinstance(pairs, list) or len(pairs) > MAX_THRESHOLDS:
        return False
    return all(isinstance(pair, list) and len(pair) == 2 and all(_is_number(v, 0, 1) for v in pair) for pair in pairs)


def _is_whole(value: Any, most: int) -> bool:
    return type(value) is int and 1 <= value <= most  # not isinstance: True is an int


def _is_number(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and least <= value <= most and math.isfinite(value)


CHECKS: dict[str, Callable[[Any], bool]] = {
    "task": lambda value: value == TASK,
    "architecture": _is_text,
    "classes": _are_classes,
    "preprocessing": _is_preprocessing,
    "precision": lambda value: _is_text(value) and value in PRECISIONS,
    "temperature": lambda value: _is_number(value, *TEMPERATURES),
    "abstain_below": lambda value: value is None or _is_number(value, 0, 1),
    "batch_size": lambda value: value is None or _is_whole(value, MAX_BATCH),
    "weights": lambda value: value is None or is_origin(value),
    "calibration": lambda value: value is None or is_calibration(value),
}
