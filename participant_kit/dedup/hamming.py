"""Pairs of 64-bit hashes that differ in few bits, without comparing all with all.

Hashes that differ in at most *t* bits agree on some *s* of *t + s* bands of bits (pigeonhole principle). For every
choice of *s* bands, hashes are sorted by them, and only those that agree are compared: Manku et al., "Detecting
near-duplicates for web crawling" (2007). *s* is chosen by the number of hashes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from math import comb, log2

import numpy as np
from numpy.typing import NDArray

from participant_kit.dedup.groups import Rows

MOST_BITS = 16

_WIDTH = 64

Hashes = NDArray[np.uint64]


def near_hashes(hashes: Hashes, bits: int) -> Iterator[tuple[Rows, Rows]]:
    """All pairs of positions whose hashes differ in 1 to ``bits`` bits; a pair may come more than once.

    Args:
        hashes: uint64 (n,), all different.
        bits: from 0 to ``MOST_BITS``.

    Yields:
        Positions of the first and of the second, int64; at most n pairs at a time.
    """
    if not bits or len(hashes) < 2:
        return
    chosen = _bands_to_agree(len(hashes), bits)
    edges = np.linspace(0, _WIDTH, bits + chosen + 1).round().astype(int).tolist()
    bands = [sum(1 << bit for bit in range(low, high)) for low, high in pairwise(edges)]
    for together in combinations(bands, chosen):
        yield from _agreeing(hashes, np.uint64(sum(together)), bits)


def _bands_to_agree(count: int, bits: int) -> int:
    """The *s* with the least work: sorting once for each choice, and comparing hashes that agree by chance."""

    def work(chosen: int) -> float:
        by_chance: float = count / 2.0 ** (_WIDTH * chosen / (bits + chosen))
        return comb(bits + chosen, chosen) * (log2(count) + by_chance)

    return min(range(1, 5), key=work)


def _agreeing(hashes: Hashes, mask: np.uint64, bits: int) -> Iterator[tuple[Rows, Rows]]:
    """Near ones among those that are equal under the mask: neighbours in sorted order, next neighbours, and so on."""
    keys = hashes & mask
    order = np.argsort(keys)
    keys = keys[order]
    places, step = np.arange(len(keys)), 0
    while len(places):
        step += 1
        places = places[places < len(keys) - step]
        places = places[keys[places] == keys[places + step]]
        first, second = order[places], order[places + step]
        near = bit_distances(hashes[first], hashes[second]) <= bits
        if near.any():
            yield first[near], second[near]


def bit_distances(first: Hashes, second: Hashes) -> NDArray[np.uint64]:
    """In how many bits the hashes differ: uint64, of the shape of both."""
    left = first ^ second  # then bits, pairs, quarters of a byte and bytes are added up side by side
    left = left - ((left >> np.uint64(1)) & np.uint64(0x5555555555555555))
    left = (left & np.uint64(0x3333333333333333)) + ((left >> np.uint64(2)) & np.uint64(0x3333333333333333))
    left = (left + (left >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (left * np.uint64(0x0101010101010101)) >> np.uint64(56)
