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

# Chosen on photographs of Caltech-101, Caltech-256 and ImageNet; docs/check.md has what they find on others.
TINY = 32  # pixels of the short side
LONG = 4.0  # times the short side: the centre square shows a quarter
DARK = 60  # 99 % of the luminances are below
BLURRED = 0.15  # sharpness, of images of at least JUDGED pixels
JUDGED = 64
DEEP = tuple(MODES.index(mode) for mode in MODES if mode.startswith("I"))  # 16 bits or more a pixel
QUARTER = 64  # of 256: a maximum below it leaves two bits of 16 unused
TYPICAL = 0.5  # what more than half of the images have is how the data are
SMALL = f"less than {TINY} pixels high or wide: enlarged, they are blots"
CLEAR = ("RGBA", "LA", "PA")
ENDINGS = {  # formats that a file of this name may have
    **dict.fromkeys((".jpg", ".jpeg", ".jfif"), ("JPEG",)),
    **dict.fromkeys((".tif", ".tiff"), ("TIFF",)),
    **dict.fromkeys((".ppm", ".pgm"), ("PPM",)),
    **{".png": ("PNG",), ".webp": ("WEBP",), ".gif": ("GIF",), ".bmp": ("BMP",)},
}


def faults(images: Collection, records: Records) -> Iterator[Finding]:
    """Yield what is wrong with single images; each has one fault of those that its pixels show."""
    yield from unreadable(images, records)
    shown = {
        "damaged": (
            records.rows["damaged"],
            "look",
            "damaged inside: the decoder fills up what is missing, and training reads it without an error",
            "Replace or remove the files.",
        ),
        "half_used": (
            np.isin(records.rows["mode"], DEEP) & (records.rows["highest"] < QUARTER),
            "look",
            "of 16 bits whose values stay below a quarter of the range: read as nearly black",
            "Save them with their full range, or with 8 bits.",
        ),
        "tiny": (
            unusual(records.short < TINY),
            "look",
            SMALL,
            "Remove them, or find larger ones.",
        ),
        "dark": (
            records.rows["brightest"] < DARK,
            "look",
            "nearly black",
            "Look at them: an exposure that failed, or 16 bits read as 8.",
        ),
        "blank": (
            records.rows["contrast"] < BLANK,
            "look",
            "of one colour: they show nothing of their class",
            "Remove them, unless nothing is a class.",
        ),
        "blurred": (
            (records.rows["sharpness"] < BLURRED) & (records.short >= JUDGED),
            "look",
            "blurred",
            "Look at them: remove what a person could not name either.",
        ),
    }
    taken = ~records.rows["readable"]
    for kind, (holds, level, what, next_step) in shown.items():
        yield from of_images(images, kind, level, holds & ~taken, what, next_step)
        taken |= holds & (kind != "damaged")
    yield from shapes(images, records)
    yield from names(images, records)


def faults_of_headers(images: Collection, records: Records) -> Iterator[Finding]:
    """Yield what headers alone show, without a pixel decoded."""
    small = unusual(records.rows["readable"] & (records.short < TINY))
    yield from of_images(images, "tiny", "look", small, SMALL, "Remove them, or find larger ones.")
    yield from shapes(images, records)
    yield from names(images, records)


def unusual(holds: np.ndarray) -> np.ndarray:
    """The same, or nothing if it holds for most: then it is how these data are."""
    return holds & (holds.mean() <= TYPICAL if len(holds) else True)


def of_images(
    images: Collection, kind: str, level: str, holds: np.ndarray, what: str, next_step: str
) -> Iterator[Finding]:
    """Yield one finding on the images for which it holds, if there are any. holds: (N,) bool."""
    chosen = np.flatnonzero(holds)
    if len(chosen):
        message = f"{counted(len(chosen), 'image')} {what}"
        yield Finding(kind, level, len(chosen), message, next_step, images.names(chosen))


def unreadable(images: Collection, records: Records) -> Iterator[Finding]:
    """Yield the images that cannot be read, with the reasons, the most frequent first."""
    if records.reasons:
        reasons = Counter(records.reasons.values()).most_common(3)
        why = ", ".join(f"{reason} ({n:,})" if len(reasons) > 1 else reason for reason, n in reasons)
        chosen = sorted(records.reasons)
        message = f"{counted(len(chosen), 'image')} that cannot be read: {why}. Training ends at the first"
        yield Finding("unreadable", "must", len(chosen), message, "Replace or remove them.", images.names(chosen))


def shapes(images: Collection, records: Records) -> Iterator[Finding]:
    """Yield images that are so long that the model sees a fraction of them."""
    holds = unusual(records.rows["readable"] & (records.long > LONG * records.short))
    what = f"more than {LONG:g} times as long as wide: the centre square that the model sees is a quarter at most"
    yield from of_images(images, "aspect", "look", holds, what, "Cut them up, or crop them to what they show.")


def names(images: Collection, records: Records) -> Iterator[Finding]:
    """Yield files named after another format, and images with transparency."""
    rows = records.rows
    wrong = np.zeros(len(records), dtype=bool)
    for k in np.flatnonzero(rows["format"] < len(FORMATS)):
        wrong[k] = is_misnamed(images.path(int(k)), format_name(rows["format"][k]))
    what = "of another format than the name says: read all the same here, not by every program"
    yield from of_images(images, "extension", "note", wrong, what, "Rename them.")
    clear = np.isin(rows["mode"], [MODES.index(mode) for mode in CLEAR])
    what = "with transparency, which lies on white when they are read"
    yield from of_images(images, "transparent", "note", unusual(clear), what, "Save them on the ground that is meant.")


def is_misnamed(path: Path | None, kind: str) -> bool:
    """Whether a file's name promises another format than it has."""
    return path is not None and kind not in ENDINGS.get(path.suffix.lower(), (kind,))
