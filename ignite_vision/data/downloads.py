"""Downloads: all or nothing, and the way by hand where there is no network."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

from ignite_vision.errors import UserError

TIMEOUT = 30.0  # seconds without a byte until a download gives up
DOGS_URL = "http://vision.stanford.edu/aditya86/ImageNetDogs/"
# What to fetch by hand where there is no network, and where below the folder of --data to unpack it.
BY_HAND = {
    "Caltech256": (
        "https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar (1.1 GiB)",
        "256_ObjectCategories",
    ),
    "StanfordDogs": (f"{DOGS_URL}images.tar (757 MiB) and {DOGS_URL}lists.tar", ""),
    "CIFAR10": ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz (163 MiB)", "cifar-10-batches-py"),
    "FashionMNIST": (
        "the four .gz of http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/ (30 MiB)",
        "FashionMNIST/raw",
    ),
}
ON_TORCHVISION = "https://pytorch.org/vision/stable/generated/torchvision.datasets."


def download(name: str, root: Path, fetch: Callable[[Path], Any]) -> None:
    """Let `fetch` download into an empty folder beside the rest, then move what it brought into root.

    So nothing that is half downloaded or half unpacked is ever taken for the data set. UserError, with the
    way to get it by hand, if the download fails.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with socket_timeout(TIMEOUT), tempfile.TemporaryDirectory(prefix=".incomplete-", dir=root) as folder:
            fetch(Path(folder))
            for path in Path(folder).iterdir():
                _move(path, root / path.name)
    except (OSError, RuntimeError, HTTPException) as error:
        url, place = BY_HAND.get(name, (f"what {ON_TORCHVISION}{name}.html names", ""))
        hint = (
            f"Fetch {url}, unpack it to {root / place}, and pass --data {root}; "
            "`ignite-vision run digits` works without a network."
        )
        raise UserError(f"cannot download {name}: {reason(error)}", root, hint) from error


@contextlib.contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """Give up a connection that stays silent for this long: the default of sockets made in this block."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _move(source: Path, target: Path) -> None:
    """Move a file or folder; a folder that is there already is filled up (its splits may come one by one)."""
    if not (source.is_dir() and target.is_dir()):
        source.replace(target)
        return
    for path in source.iterdir():
        _move(path, target / path.name)


def reason(error: BaseException) -> str:
    """Say what went wrong in one line: the system's own words for a network that is not there."""
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
