"""JPEGs: which of them every decoder reads alike, as its header says; and the decoders.

The header is followed here since Pillow takes ten times as long: 100 us, a third of what decoding a small photograph
takes.
"""

from __future__ import annotations

import functools
import importlib
import io
import struct
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image, ImageOps

Decoder = Callable[[torch.Tensor], torch.Tensor]

BEGIN, SCAN, NOTE = b"\xff\xd8", 0xDA, 0xE1  # NOTE: APP1, which holds Exif or XMP
FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive: what the decoders take
SEGMENTS = frozenset((0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE))  # tables, applications, comments
EXIF = b"Exif\0\0"
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
ORIENTATION, SHORT = 0x0112, 3  # a tag and a type of TIFF 6.0
TURNED = {(SHORT, 1, orientation) for orientation in range(2, 9)}
SEGMENT, FRAME = struct.Struct(">BBH"), struct.Struct(">BHHB")  # 0xFF, marker, length; precision, height, width, parts


def plain_size(data: bytes | bytearray) -> int:
    """Pixels of a JPEG, grey or RGB, whose pixels and orientation leave no doubt. 0: Pillow is to look at it.

    Follows the chain of segments to the scan (ITU T.81, B.2). Whatever a decoder might see otherwise, such as bytes
    between segments or an orientation in XMP, is not plain.
    """
    place, end, size = len(BEGIN), len(data) - SEGMENT.size, 0
    notes: list[bytes] = []
    if not data.startswith(BEGIN):
        return 0
    while place <= end:
        begin, marker, length = SEGMENT.unpack_from(data, place)
        if begin != 0xFF or length < 2:
            return 0
        if marker == SCAN:
            return size if _is_plain_orientation(notes) else 0
        if marker in FRAMES and not size and place + FRAME.size <= end:
            size = _size_of_frame(*FRAME.unpack_from(data, place + SEGMENT.size))
        elif marker == NOTE:
            notes.append(bytes(data[place + SEGMENT.size : place + 2 + length]))
        elif marker not in SEGMENTS:
            return 0
        place += 2 + length
    return 0


def _size_of_frame(precision: int, height: int, width: int, components: int) -> int:
    """Pixels of a grey or RGB image of 8 bits; 0 for any other."""
    return width * height if precision == 8 and components in (1, 3) else 0


def _is_plain_orientation(notes: list[bytes]) -> bool:
    """Whether all decoders turn the image alike: upright, or by one SHORT in the Exif of the first note.

    Pillow also reads other types, Exif after another note, and XMP where Exif says nothing.
    """
    place = next((k for k, note in enumerate(notes) if note.startswith(EXIF)), None)
    if place != 0 and notes and notes[0][len(EXIF) :].startswith(tuple(BYTE_ORDERS)):
        return False  # a damaged name: torchvision does not look at it
    if place is None:
        return not any(b"Orientation" in note for note in notes)
    others = notes[:place] + notes[place + 1 :]
    if any(note.startswith(EXIF) for note in others):
        return False
    try:
        found = set(_orientations(notes[place][len(EXIF) :]))
    except struct.error:  # an offset or a number of entries that leads out of it
        return False
    if not found:
        return not any(b"Orientation" in note for note in others)
    return found == {(SHORT, 1, 1)} or (place == 0 and len(found) == 1 and found <= TURNED)


def _orientations(tiff: bytes) -> list[tuple[int, int, int]]:
    """(type, count, value) of every orientation in the first directory. struct.error if it is damaged."""
    order = BYTE_ORDERS.get(tiff[:4])
    if order is None:
        raise struct.error("no TIFF")
    (place,) = struct.unpack_from(f"{order}I", tiff, 4)
    (entries,) = struct.unpack_from(f"{order}H", tiff, place)
    directory = tiff[place + 2 : place + 2 + 12 * entries]
    fields = struct.iter_unpack(f"{order}HHIHxx", directory)
    return [(kind, count, value) for tag, kind, count, value in fields if tag == ORIENTATION]


def decode_jpeg(data: bytes | bytearray) -> torch.Tensor:
    """Return (3,H,W) uint8 RGB, upright, of a JPEG that `plain_size` knows, by the preferred decoder."""
    buffer = data if isinstance(data, bytearray) else bytearray(data)  # of bytes, which nobody may change, it warns
    return _preferred()(torch.frombuffer(buffer, dtype=torch.uint8))


def decoders() -> Iterator[tuple[str, Decoder]]:
    """(name, decoder) of those that are installed, the preferred first. (n,) uint8 -> (3,H,W) uint8 RGB, upright.

    They give the same pixels. torchvision 0.29 and torchcodec 0.17 take the same time (0.455 and 0.450 ms for a
    photograph of Caltech-256, 0.25 and 0.25 for one of Stanford Dogs), Pillow twice that. torchvision is there anyway;
    torchcodec, which takes 35 ms to import, is for when torchvision drops what it now deprecates.
    """
    try:
        from torchvision.io import ImageReadMode, decode_image

        yield "torchvision", functools.partial(decode_image, mode=ImageReadMode.RGB, apply_exif_orientation=True)
    except ImportError:
        pass
    try:
        yield "torchcodec", functools.partial(importlib.import_module("torchcodec.decoders").decode_jpeg, mode="RGB")
    except (ImportError, OSError, RuntimeError):  # its libraries are loaded at once, and fit some versions of torch
        pass
    yield "pillow", _by_pillow


@functools.cache
def _preferred() -> Decoder:
    return next(decoders())[1]


def _by_pillow(encoded: torch.Tensor) -> torch.Tensor:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded.numpy().tobytes()), formats=("JPEG",)))
    return torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0)
