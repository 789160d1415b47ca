"""Image files that are cut off, found without decoding them: a download that broke off, a disk that was full.

Only the first and the last bytes of a file are looked at; what they leave open is read as training would read it. So
nothing is refused that can be read, but damage in the middle of a file is not found here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, TiffImagePlugin

from ignite_vision.data.containers import Container
from ignite_vision.data.images import DAMAGE, read_image
from ignite_vision.errors import UserError

EDGE = 64  # bytes that are looked at, at each end of a file
BLOCK = 256  # files that one thread takes at a time
THREADS = 4  # for disks that answer late: 60,000 small JPEGs in the system's memory take 1.4 s with 1, 2, 4 or 8
HOW = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a named pipe would wait otherwise
IEND = b"IEND\xaeB`\x82"  # PNG's last chunk: its name and its checksum, always the same
STRIPS = ((273, 279), (324, 325))  # TIFF's tags of offsets and lengths of what holds the pixels: strips, or tiles


def unreadable(images: Container) -> list[tuple[Path, str]]:
    """(file, what is wrong with it) of the files that are cut off, empty, gone or no image; none of what is no file."""
    blocks = [range(k, min(k + BLOCK, len(images))) for k in range(0, len(images), BLOCK)]

    def look(block: range) -> list[tuple[Path, str]]:
        paths = [path for i in block if (path := images.path(i)) is not None]
        return [(path, problem) for path in paths if (problem := quick_problem(path)) is not None]

    with ThreadPoolExecutor(THREADS, "look") as pool:
        return [found for part in pool.map(look, blocks) for found in part]


def quick_problem(path: Path | str) -> str | None:
    """What is wrong with an image file, as far as its two ends show; None if nothing is."""
    try:
        if not _looks_whole(path):
            read_image(path)
    except UserError as error:
        return error.what.removeprefix("cannot read image: ")
    except OSError as error:
        return error.strerror or str(error)
    return None


def _looks_whole(path: Path | str) -> bool:
    """Whether a file begins as an image of some format and ends as these do. OSError if it cannot be opened."""
    handle = os.open(path, HOW)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return False
        head = os.read(handle, EDGE)
        os.lseek(handle, max(0, status.st_size - EDGE), os.SEEK_SET)
        tail = os.read(handle, EDGE)
    finally:
        os.close(handle)
    checks = [is_whole for magic, is_whole in ENDS.items() if head.startswith(magic)]
    return any(is_whole(head, tail, status.st_size, path) for is_whole in checks)


def _jpeg(_head: bytes, tail: bytes, _size: int, _path: Path | str) -> bool:
    return tail.rstrip(b"\0").endswith(b"\xff\xd9")  # EOI; some cameras fill up with zeros


def _png(_head: bytes, tail: bytes, _size: int, _path: Path | str) -> bool:
    return tail.endswith(IEND)


def _gif(_head: bytes, tail: bytes, _size: int, _path: Path | str) -> bool:
    return tail.endswith(b"\0;")  # the last block of the last frame, and the trailer


def _webp(head: bytes, _tail: bytes, size: int, _path: Path | str) -> bool:
    return head[8:12] == b"WEBP" and 8 + int.from_bytes(head[4:8], "little") <= size


def _bmp(head: bytes, _tail: bytes, size: int, _path: Path | str) -> bool:
    return 0 < int.from_bytes(head[2:6], "little") <= size


def _tiff(_head: bytes, _tail: bytes, size: int, path: Path | str) -> bool:
    """Whether all strips or tiles of the first page end within the file."""
    try:
        with Image.open(path, formats=("TIFF",)) as image:
            assert isinstance(image, TiffImagePlugin.TiffImageFile)
            tags = image.tag_v2
            ends = [o + n for at, long in STRIPS if at in tags for o, n in zip(tags[at], tags[long], strict=True)]
    except DAMAGE:
        return False
    return bool(ends) and max(ends) <= size


ENDS: dict[bytes, Callable[[bytes, bytes, int, Path | str], bool]] = {
    b"\xff\xd8": _jpeg,
    b"\x89PNG\r\n\x1a\n": _png,
    b"GIF8": _gif,
    b"RIFF": _webp,
    b"BM": _bmp,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
}
