"""Near-duplicates among files, found before a split is cut: the same picture resized, recompressed or mirrored."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from ignite_vision.data.containers import Container
from ignite_vision.data.hashing import near_pairs, perceptual_hash
from ignite_vision.errors import UserError
from ignite_vision.system.files import cache_home, replacing

MOST = 50_000  # images that are compared, all with all: half a minute
BURST = 20  # images that may be alike; more, and half a class of them, are drawings, digits or scans of one form
AT_ONCE = 64  # images that a thread takes: what waits for threads takes memory
MAKING = 1  # counted up when the hash changes


def clusters(images: Container) -> torch.Tensor:
    """(N,) int64: near-duplicates have one number, each other image its own. Decodes every image, the first time.

    Images that cannot be read have no duplicates here: whoever trains on them says so.
    """
    from scipy.sparse import coo_matrix  # a fifth of a second, which others need not wait for
    from scipy.sparse.csgraph import connected_components

    found = hashes(images)
    # images of equal hashes are compared as one: thousands of them would be millions of pairs
    _, first, kind = np.unique(found[:, 0], axis=0, return_index=True, return_inverse=True)
    pairs, n = near_pairs(found[first]), len(first)
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    numbers = connected_components(links, directed=False)[1].astype(np.int64)[kind.reshape(-1)]
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


def hashes(images: Container) -> np.ndarray:
    """(N,2,4) uint64 as `perceptual_hash` has them; zeros for an unreadable image. Kept by the images' stamp."""
    path = cache_home() / f"hashes-{images.stamp()[:16]}-{MAKING}.npy"
    try:
        kept = np.load(path)
        if kept.shape == (len(images), 2, 4) and kept.dtype == np.uint64:
            return np.asarray(kept)
    except (OSError, ValueError, EOFError):
        pass
    found = _computed(images)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, f".{os.getpid()}") as temporary, temporary.open("wb") as file:
            np.save(file, found)
    except OSError:  # a full disk: they are computed again next time
        pass
    return found


def _computed(images: Container) -> np.ndarray:
    found = np.zeros((len(images), 2, 4), dtype=np.uint64)

    def hash_some(first: int) -> None:
        for i in range(first, min(first + AT_ONCE, len(images))):
            with contextlib.suppress(UserError):
                found[i] = perceptual_hash(images[i][0])

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1) if images.thread_safe else 1) as pool:
        list(pool.map(hash_some, range(0, len(images), AT_ONCE)))
    return found
