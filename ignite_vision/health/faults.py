"""Faults of single images, from their records: what cannot be read, and what has nothing to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ignite_vision.data.hashing import BLANK
from ignite_vision.data.images import FORMATS
from ignite_vision.health.collection import Collection
from ignite_vision.health.findings import Finding, counted
from ignite_vision.health.records import MODES, Records, format_name

# Chosen on photographs of Caltech-101, Caltech-256, ImageNet and Stanford Dogs; docs/check.md has what they find.
TINY = 32  # pixels of the short side
LONG = 4.0  # times the short side: the centre square shows a quarter
DARK = 60  # 99 % of the luminances are below
BLURRED = 0.15  # sharpness, of images of at least JUDGED pixels
JUDGED = 64
DEEP = tuple(MODES.index(mode) for mode in MODES if mode.startswith("I"))  # 16 bits or more a pixel
QUARTER = 64  # of 256: a maximum below it leaves two bits of 16 unused
TYPICAL = 0.5  # what more than half of the images have is how the data are
CLEAR = tuple(MODES.index(mode) for mode in ("RGBA", "LA", "PA"))
ENDINGS = {  # formats that a file of this name may have
    **dict.fromkeys((".jpg", ".jpeg", ".jfif"), ("JPEG",)),
    **dict.fromkeys((".tif", ".tiff"), ("TIFF",)),
    **dict.fromkeys((".ppm", ".pgm"), ("PPM",)),
    **{".png": ("PNG",), ".webp": ("WEBP",), ".gif": ("GIF",), ".bmp": ("BMP",)},
}

TEXTS = {  # kind -> level, what it is, what to do
    "damaged": (
        "look",
        "damaged inside: the decoder fills up what is missing, and training reads it without an error",
        "Replace or remove the files.",
    ),
    "half_used": (
        "look",
        "of 16 bits whose values stay below a quarter of the range: read as nearly black",
        "Save them with their full range, or with 8 bits.",
    ),
    "tiny": (
        "look",
        f"less than {TINY} pixels high or wide: enlarged, they are blots",
        "Remove them, or find larger ones.",
    ),
    "dark": ("look", "nearly black", "Look at them: an exposure that failed, or 16 bits read as 8."),
    "blank": ("look", "of one colour: they show nothing of their class", "Remove them, unless nothing is a class."),
    "blurred": ("look", "blurred", "Look at them: remove what a person could not name either."),
    "aspect": (
        "look",
        f"more than {LONG:g} times as long as wide: the centre square that the model sees is a quarter at most",
        "Cut them up, or crop them to what they show.",
    ),
    "extension": (
        "note",
        "of another format than the name says: read all the same here, not by every program",
        "Rename them.",
    ),
    "transparent": (
        "note",
        "with transparency, which lies on white when they are read",
        "Save them on the ground that is meant.",
    ),
}


def faults(images: Collection, records: Records, are_skipped: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with single images. are_skipped: training goes on without those that cannot be read."""
    yield from unreadable(images, records, are_skipped)
    for kind, holds in masks(images, records).items():
        yield from of_images(images, kind, holds)


def masks(images: Collection, records: Records) -> dict[str, np.ndarray]:
    """Kind of fault -> which images have it: (N,) bool. Of those that pixels show, an image has the first alone."""
    rows = records.rows
    shown = {
        "half_used": np.isin(rows["mode"], DEEP) & (rows["highest"] < QUARTER),
        "tiny": unusual(records.short < TINY),
        "dark": rows["brightest"] < DARK,
        "blank": rows["contrast"] < BLANK,
        "blurred": (rows["sharpness"] < BLURRED) & (records.short >= JUDGED),
    }
    found, free = {"damaged": rows["damaged"] & rows["readable"]}, rows["readable"].copy()
    for kind, holds in shown.items():
        found[kind] = holds & free
        free &= ~holds
    return found | header_masks(images, records)


def header_masks(images: Collection, records: Records) -> dict[str, np.ndarray]:
    """The same of what headers alone show."""
    rows = records.rows
    wrong = np.zeros(len(records), dtype=bool)
    for k in np.flatnonzero(rows["format"] < len(FORMATS)):
        wrong[k] = is_misnamed(images.path(int(k)), format_name(rows["format"][k]))
    return {
        "aspect": unusual(rows["readable"] & (records.long > LONG * records.short)),
        "extension": wrong,
        "transparent": unusual(np.isin(rows["mode"], CLEAR)),
    }


def faults_of_headers(images: Collection, records: Records) -> Iterator[Finding]:
    """Yield what headers alone show, without a pixel decoded."""
    yield from of_images(images, "tiny", unusual(records.rows["readable"] & (records.short < TINY)))
    for kind, holds in header_masks(images, records).items():
        yield from of_images(images, kind, holds)


def unusual(holds: np.ndarray) -> np.ndarray:
    """The same, or nothing if it holds for most: then it is how these data are."""
    return holds & (holds.mean() <= TYPICAL if len(holds) else True)


def of_images(images: Collection, kind: str, holds: np.ndarray) -> Iterator[Finding]:
    """Yield one finding on the images for which it holds, if there are any. holds: (N,) bool."""
    chosen = np.flatnonzero(holds)
    if len(chosen):
        level, what, next_step = TEXTS[kind]
        message = f"{counted(len(chosen), 'image')} {what}"
        yield Finding(kind, level, len(chosen), message, next_step, images.names(chosen))


def unreadable(images: Collection, records: Records, are_skipped: bool) -> Iterator[Finding]:
    """Yield the images that cannot be read, with the reasons, the most frequent first."""
    if records.reasons:
        reasons = Counter(records.reasons.values()).most_common(3)
        why = ", ".join(f"{reason} ({n:,})" if len(reasons) > 1 else reason for reason, n in reasons)
        chosen = sorted(records.reasons)
        level, ending = ("look", "leaves them out") if are_skipped else ("must", "ends at the first")
        message = f"{counted(len(chosen), 'image')} that cannot be read: {why}. Training {ending}"
        yield Finding("unreadable", level, len(chosen), message, "Replace or remove them.", images.names(chosen))


def is_misnamed(path: Path | None, kind: str) -> bool:
    """Whether a file's name promises another format than it has."""
    return path is not None and kind not in ENDINGS.get(path.suffix.lower(), (kind,))
