"""Near-duplicates among files, found before a split is cut: the same picture resized, recompressed or mirrored."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from ignite_vision.data import hash_store
from ignite_vision.data.containers import Container
from ignite_vision.data.hashing import near_pairs, perceptual_hash
from ignite_vision.data.sides import connected
from ignite_vision.errors import UserError
from ignite_vision.system.process import processors
from ignite_vision.system.progress import with_progress

MOST = 50_000  # images that are compared, all with all: half a minute
BURST = 20  # images that may be alike; more, and half a class of them, are drawings, digits or scans of one form
AT_ONCE = 64  # images that a thread takes: what waits for threads takes memory
WHAT = "looking for near-duplicates"


def clusters(images: Container, say: Callable[[str], None]) -> torch.Tensor:
    """(N,) int64: near-duplicates have one number, each other image its own. Decodes every image, the first time.

    say: told every few seconds how long that will still take.

    Images that cannot be read have no duplicates here: whoever trains on them says so.
    """
    found = hashes(images, say)
    # images of equal hashes are compared as one: thousands of them would be millions of pairs
    _, first, kind = np.unique(found[:, 0], axis=0, return_index=True, return_inverse=True)
    pairs, n = near_pairs(found[first]), len(first)
    numbers = connected(pairs[:, 0], pairs[:, 1], n)[kind.reshape(-1)]
    blank = ~found.any((1, 2))  # which are like no other, however equal
    numbers[blank] = np.arange(blank.sum()) + n
    return _without_masses(torch.from_numpy(numbers), images.targets)


def _without_masses(numbers: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The same without clusters of more than 20 images that are more than half of a class."""
    sizes = numbers.bincount()
    of_class = targets.bincount()
    for number in torch.nonzero(sizes > BURST)[:, 0].tolist():
        members = numbers == number
        inside = targets[members].bincount(minlength=len(of_class))
        if (2 * inside > of_class).any():
            numbers[members] = torch.arange(int(members.sum())) + int(numbers.max()) + 1
    return numbers


def hashes(images: Container, say: Callable[[str], None]) -> np.ndarray:
    """(N,2,4) uint64 as `perceptual_hash` has them; zeros for an unreadable image. The others are kept."""
    found, known = hash_store.kept(images)
    missing = np.flatnonzero(~known)
    if len(missing):
        for i, one in itertools.chain.from_iterable(_computed(images, missing, say)):
            found[i], known[i] = one, True
        new = missing[known[missing]]
        hash_store.keep(images, new, found[new])
    return found


def _computed(
    images: Container, places: np.ndarray, say: Callable[[str], None]
) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Yield (place, hash) of the images that can be read, some at a time."""

    def hash_some(some: np.ndarray) -> list[tuple[int, np.ndarray]]:
        return [(i, one) for i in some.tolist() if (one := _hash(images, i)) is not None]

    parts = [places[k : k + AT_ONCE] for k in range(0, len(places), AT_ONCE)]
    with ThreadPoolExecutor(min(8, processors()) if images.thread_safe else 1) as pool:
        yield from with_progress(pool.map(hash_some, parts), len(parts), WHAT, say)


def _hash(images: Container, i: int) -> np.ndarray | None:
    with contextlib.suppress(UserError):
        return perceptual_hash(images[i][0])
    return None
