"""Hashes of what an image looks like: recompressed, resized, mirrored or made grey, a picture keeps its hash, nearly.

256 bits, each one frequency of the 64x64 luminance against the median of all (a DCT hash, as phash's 64 bits are). Not
kept by rotations, and by crops only up to 1 % of each side.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch.nn import functional as F

from ignite_vision.data.preprocessing import luminance

SIDE, FREQUENCIES = 64, 16  # pixels per side, and how many of the lowest frequencies each way
BITS = FREQUENCIES**2
NEAR = 24  # of 256 bits: pairs up to here are the same picture, in photographs
BLANK = 8.0  # standard deviation of the luminance below which there is no picture to compare
PARTNERS = 20  # pairs of one image with later ones, at most: n equal images would have n * n / 2
DECIMALS = 3  # of a frequency: what is 0 but for rounding is no bit
ROWS, COLUMNS = 1024, 4096  # compared at a time: 16 MB


def perceptual_hash(image: torch.Tensor) -> np.ndarray:
    """(C,H,W) uint8, grey or RGB -> (2,4) uint64: 256 bits of the image, and of its mirror image.

    All bits are 0 where the image is blank: it is like no other.
    """
    small = F.interpolate(image[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]
    grey = (luminance(small) if len(small) == 3 else small)[0].numpy().astype(np.float64)
    if grey.std() < BLANK:
        return np.zeros((2, BITS // 64), dtype=np.uint64)
    waves = _cosines()
    frequencies = np.round(waves @ grey @ waves.T, DECIMALS)
    mirrored = frequencies * np.where(np.arange(FREQUENCIES) % 2, -1.0, 1.0)  # cosines of odd frequency are odd
    return np.stack([_packed(frequencies), _packed(mirrored)])


@functools.cache
def _cosines() -> np.ndarray:
    """(16,64): the lowest rows of the discrete cosine transform (II), orthonormal but for the first."""
    places, frequencies = np.arange(SIDE) + 0.5, np.arange(FREQUENCIES)
    return np.sqrt(2 / SIDE) * np.cos(np.pi / SIDE * np.outer(frequencies, places))


def _packed(frequencies: np.ndarray) -> np.ndarray:
    """(16,16) -> (4,) uint64: which are above their median."""
    flat = frequencies.ravel()
    middle = np.partition(flat, (BITS // 2 - 1, BITS // 2))[
        BITS // 2 - 1 : BITS // 2 + 1
    ]  # a quarter of np.median's time
    return np.packbits(flat > middle.mean()).view(np.uint64)


def near_pairs(hashes: np.ndarray, most: int = NEAR) -> np.ndarray:
    """Pairs of images that are alike, either way round. hashes: (N,2,4) uint64 -> (P,3) int64: i < j, bits that differ.

    Sorted. Blank images have no pair; an image has at most 20 with later ones, the nearest. Compares all with all, by
    products of +1 and -1: 12.6 s for 10,000 x 50,000 on one core.
    """
    kept = np.flatnonzero(hashes.any((1, 2)))
    found = [np.empty((0, 3), dtype=np.int64)]
    scratch = torch.empty(2, ROWS * COLUMNS)  # anew for each block, it would leave holes: 260 MB for 100,000 images
    for first in range(0, len(kept), ROWS):
        rows = kept[first : first + ROWS]
        found.append(_nearest(_near_in(hashes, rows, kept[first:], most, scratch)))
    pairs = np.concatenate(found)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _near_in(hashes: np.ndarray, rows: np.ndarray, others: np.ndarray, most: int, scratch: torch.Tensor) -> np.ndarray:
    """Pairs of rows with later ones of the others: (P,3), all of them."""
    signs, found = _signs(hashes[rows, 0]), []
    for first in range(0, len(others), COLUMNS):
        columns = others[first : first + COLUMNS]
        alike, turned = scratch[:, : len(rows) * len(columns)].view(2, len(rows), len(columns))
        torch.mm(signs, _signs(hashes[columns, 0]).T, out=alike)
        torch.mm(signs, _signs(hashes[columns, 1]).T, out=turned)
        near = (torch.maximum(alike, turned, out=alike) >= BITS - 2 * most).nonzero()
        bits = (BITS - alike[near[:, 0], near[:, 1]].to(torch.int64)) // 2
        i, j = rows[near[:, 0].numpy()], columns[near[:, 1].numpy()]
        found.append(np.stack([i, j, bits.numpy()], axis=1)[i < j])
        found[-1] = _nearest(found[-1])  # of a burst, before there are too many
    return np.concatenate(found)


def _nearest(pairs: np.ndarray) -> np.ndarray:
    """Keep of each first image its nearest partners, at most 20."""
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 2], pairs[:, 0]))]
    begin = np.searchsorted(pairs[:, 0], pairs[:, 0])
    return pairs[np.arange(len(pairs)) - begin < PARTNERS]


def _signs(hashes: np.ndarray) -> torch.Tensor:
    """(N,4) uint64 -> (N,256) float32 of +1 and -1."""
    bits = np.unpackbits(np.ascontiguousarray(hashes).view(np.uint8), axis=1)
    return torch.from_numpy(bits).to(torch.float32).mul_(2).sub_(1)


def distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Bits that differ. (N,4) uint64 each -> (N,) int64."""
    differs = np.ascontiguousarray(one ^ other).view(np.uint8)
    return np.unpackbits(differs, axis=-1).sum(-1, dtype=np.int64)
