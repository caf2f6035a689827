"""Photon counts: Poisson numbers at the rates of 8-bit levels, several times as fast as drawing at any rate.

Levels have at most 256 rates for a given scale, so each rate's distribution is kept as an alias table (A. J. Walker,
1977): 256 columns of equal chance, each shared by two counts. One number of 32 bits then draws one count: 8 bits
choose the column, 24 one of its two. Chances are Poisson's within 2^-32, over the 256 counts around the rate beyond
which less than that is left.
"""

import functools

import numpy as np
from numpy.random import Generator

from sdsr.tensors import Float32, Float64, Integer, UInt8

_BELOW = 112  # counts that a column may stand for below its rate: 7 standard deviations at the largest, 256
_AT_ONCE = 32_768  # levels whose arrays stay in a core's cache beside the table: twice as fast as a whole photo


def photon_noise(levels: UInt8[np.ndarray, "..."], full: int, rng: Generator) -> Float32[np.ndarray, "..."]:
    """Draw a count at each level's rate, level / 255 x full; return count / full - level / 255. `full` is up to 256."""
    flat = levels.ravel()
    noise = np.empty(flat.shape, np.float32)
    for first in range(0, flat.size, _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        noise[part] = _drawn(flat[part], full, rng)
    return noise.reshape(levels.shape)


def _drawn(levels: UInt8[np.ndarray, " n"], full: int, rng: Generator) -> Float32[np.ndarray, " n"]:
    table, least = alias_tables(full)
    # whole words of 64 bits are what a generator makes fastest
    bits = rng.integers(2**64, size=-(-levels.size // 2), dtype=np.uint64).view(np.uint32)[: levels.size]
    column = bits.astype(np.uint8)
    row = levels.astype(np.uint16) << 8
    row |= column
    entry = table.take(row)
    bits >>= 8
    alias = entry.astype(np.uint8)
    entry >>= 8
    kept = (bits < entry).view(np.uint8)
    # bits of the column where it is kept, of its alias elsewhere: what `where` says, four times as fast
    drawn = alias ^ ((column ^ alias) & -kept)
    noise = drawn * np.float32(1 / full)
    noise += (least / full - np.arange(256) / 255).astype(np.float32).take(levels)
    return noise


@functools.lru_cache(maxsize=9)
def alias_tables(full: int) -> tuple[Integer[np.ndarray, "65536"], Integer[np.ndarray, "256"]]:
    """Return for each level its 256 columns, and its least count, from which columns and aliases count.

    A column is the chance of its own count, in 24 bits, and its alias in the last 8.
    """
    least, chances = count_chances(full)
    own, alias = _aliased(chances)
    chance = np.minimum(np.rint(own * 2.0**24), 2**24 - 1).astype(np.uint32)  # a column of 1 is its own alias
    return (chance << 8 | alias).ravel(), least


def count_chances(full: int) -> tuple[Integer[np.ndarray, "256"], Float64[np.ndarray, "256 256"]]:
    """Return each level's least count, and its chances of that count and of the 255 after it."""
    rate = np.arange(256) * (full / 255)
    least = np.maximum(np.floor(rate).astype(np.int64) - _BELOW, 0)
    count = least[:, None] + np.arange(256)
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, count.max() + 1)))))
    logarithm = count * np.log(np.maximum(rate, 1e-300))[:, None] - rate[:, None] - log_factorial[count]
    chances = np.exp(logarithm)
    return least, chances / chances.sum(axis=1, keepdims=True)


def _aliased(
    chances: Float64[np.ndarray, "rows columns"],
) -> tuple[Float64[np.ndarray, "rows columns"], Integer[np.ndarray, "rows columns"]]:
    """Fill, in all rows at once, the emptiest column from the fullest until all are full."""
    rows, columns = chances.shape
    mass = chances * columns
    own = np.ones((rows, columns))
    alias = np.tile(np.arange(columns, dtype=np.uint32), (rows, 1))
    row = np.arange(rows)
    while len(row):
        poor = mass[row].argmin(axis=1)
        rich = mass[row].argmax(axis=1)
        lacks = 1 - mass[row, poor]
        open_ = lacks > 1e-12
        row, poor, rich, lacks = row[open_], poor[open_], rich[open_], lacks[open_]
        own[row, poor] = 1 - lacks
        alias[row, poor] = rich
        mass[row, poor] = 1.0
        mass[row, rich] -= lacks
    return own, alias
