"""What a check keeps of an image: one small record, whatever the image's size."""

from __future__ import annotations

import dataclasses

import numpy as np

from ignite_vision.data.images import FORMATS

MODES = ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "I;16B", "I;16L", "F")
UNKNOWN = 255
RECORD = np.dtype(
    [
        ("bytes", "<i8"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("format", "u1"),
        ("mode", "u1"),
        ("readable", "?"),
        ("damaged", "?"),
        ("content", "V16"),
        ("hash", "<u8", (2, 4)),
        ("brightest", "u1"),
        ("highest", "u1"),
        ("colour", "u1"),
        ("border", "u1", (3,)),
        ("contrast", "<f4"),
        ("sharpness", "<f4"),
    ]
)
"""114 bytes. bytes, format, mode: of the file; 0 and UNKNOWN for what is none. content: half of the sha256 of the
file, or of the pixels. damaged: the decoder complained. hash: `data.hashing`. highest: the largest
value of any channel. The rest: `health.measures`."""


@dataclasses.dataclass(frozen=True)
class Records:
    """rows: (N,) of RECORD. reasons: why an image cannot be read, by its place."""

    rows: np.ndarray
    reasons: dict[int, str]

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, places: np.ndarray) -> Records:
        """Those at these places, in this order. places: (M,)."""
        now = {int(place): k for k, place in enumerate(places)} if self.reasons else {}
        return Records(self.rows[places], {now[k]: reason for k, reason in self.reasons.items() if k in now})

    @property
    def short(self) -> np.ndarray:
        """(N,) short sides in pixels."""
        return np.minimum(self.rows["width"], self.rows["height"])

    @property
    def long(self) -> np.ndarray:
        """(N,) long sides in pixels."""
        return np.maximum(self.rows["width"], self.rows["height"])


def code(name: str, names: tuple[str, ...]) -> int:
    """The place of a name, or UNKNOWN."""
    return names.index(name) if name in names else UNKNOWN


def format_name(number: int) -> str:
    """JPEG, PNG, …; `no file` for what is none."""
    return FORMATS[number] if number < len(FORMATS) else "no file"
