"""Every random draw is a pure function of (seed, purpose, epoch, index): nothing to save, nothing to replay.

A resumed run draws the same numbers whatever the number of loader workers, because no draw depends on
how many draws came before it. `key` is frozen by golden values in the tests: a change breaks every old run.
"""

from __future__ import annotations

import enum
import random

import numpy as np
import torch

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, as in splitmix64 (Steele, Lea, Flood 2014)
MIX_1, MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # splitmix64's multipliers


class Purpose(enum.IntEnum):
    """Keeps the streams apart: two purposes never share a number."""

    INIT = 0  # the model's first weights
    ORDER = 1  # (epoch): the order of the training images
    SAMPLE = 2  # (epoch, image): whatever a data set draws in __getitem__
    STEP = 3  # (iteration): dropout and everything else inside the step
    SPLIT = 4  # (class): which images become validation and test
    AUGMENT = 5  # (epoch, image): crops and flips
    BOOTSTRAP = 6  # of split_seed: which images are drawn again for an interval
    FOLDS = 7  # which images judge which others' labels


def key(seed: int, purpose: Purpose, *words: int) -> int:
    """A 64-bit key: splitmix64's finaliser chained over the words. The same on every platform and version."""
    h = GOLDEN
    for word in (seed, int(purpose), *words):
        h = (h ^ (word & MASK)) * MIX_1 & MASK
        h ^= h >> 27
        h = h * MIX_2 & MASK
        h ^= h >> 31
    return h


def uniforms(seed: int, epoch: int, index: np.ndarray, draws: int) -> torch.Tensor:
    """Augmentation draws. index: (N,) image indices -> (N, draws) float32 in [0, 1), a row per image.

    A row is a function of (seed, epoch, image) alone, so neither batch, worker nor process can change it.
    """
    if not draws:
        return torch.empty(len(index), 0)
    start = np.uint64(key(seed, Purpose.AUGMENT, epoch))
    rows = _mix(start, np.asarray(index, dtype=np.uint64))
    table = _mix(rows[:, None], np.arange(draws, dtype=np.uint64)[None, :])
    return torch.from_numpy((table >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))


def _mix(h: np.ndarray | np.uint64, word: np.ndarray) -> np.ndarray:
    """One link of `key`'s chain, for whole arrays (unsigned integers wrap by themselves)."""
    h = (word ^ h) * np.uint64(MIX_1)
    h ^= h >> np.uint64(27)
    h *= np.uint64(MIX_2)
    return h ^ (h >> np.uint64(31))


def generator(seed: int, purpose: Purpose, *words: int) -> torch.Generator:
    """Return a new CPU generator for one purpose."""
    return torch.Generator().manual_seed(key(seed, purpose, *words) >> 1)


def seed_everything(seed: int, purpose: Purpose, *words: int) -> None:
    """Seed torch (CPU and CUDA), numpy and Python: whoever draws next draws from this key.

    The default CPU generator is seeded directly: torch.manual_seed costs 100 times as much (129 us).
    """
    h = key(seed, purpose, *words)
    torch.default_generator.manual_seed(h >> 1)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(h >> 1)
    random.seed(h)
    np.random.seed(h & 0xFFFFFFFF)
