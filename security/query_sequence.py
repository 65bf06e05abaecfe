"""What successive questions look like: people vary scenarios, programs measure derivatives.

A question that carries a path (a vector, one value an interval) is held against the earlier ones of its own tag among the
last few: against all of them, so that neither another day asked in turn nor paths between that mean nothing hide a sign.

    probing   paths that differ from an earlier one in one or two intervals only: finite differences, a derivative a question
    creeping  paths that nowhere differ from an earlier one by as much as anybody could mean: bisection towards a limit
    rough     paths that jump from interval to interval: random inputs, and the noise of a search

A path is given as its departure from what everybody knows, so that it is the caller's own doing that is judged.

Compare PRADA (Juuti et al. 2019, "PRADA: protecting against DNN model stealing attacks"), which tests the distances between
successive queries for normality. Genuine scenarios come in fans, whose distances are not normal either; so a distance
counts by what it is good for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

KEPT = 32
TAG_BYTES = 4
UNITS = 100.0


@dataclass(frozen=True)
class Signs:
    """When a sequence is odd, in the path's own unit. fewest: how many of the newest and the last `KEPT` show a sign."""

    few_intervals: int
    creeping: float
    rough: float
    fewest: int


def packed(tag: int, path: Sequence[float] | NDArray[np.float64]) -> bytes:
    """A path as it is kept: `tag` says which paths may be compared; values in hundredths, two bytes each."""
    scaled = np.clip(np.asarray(path, dtype=np.float64) * UNITS, -32_000, 32_000)
    return tag.to_bytes(TAG_BYTES, "big") + np.rint(scaled).astype(">i2").tobytes()


def odd(newest: bytes, before: Sequence[bytes], signs: Signs) -> str:
    """The sign that the last questions show, or nothing. before: newest first; each as `packed`."""
    if before and before[0] == newest:
        return ""
    kept = [newest, *before]
    # Days on which the clock changes have paths of another length.
    alike = [[one for one in kept if len(one) == length] for length in {len(one) for one in kept}]
    if _count_rough([newest], signs) and sum(_count_rough(paths, signs) for paths in alike) >= signs.fewest:
        return "rough"
    probing, creeping = np.sum([_count_near(paths, signs) for paths in alike], axis=0)
    if probing >= signs.fewest:
        return "probing"
    return "creeping" if creeping >= signs.fewest else ""


def _count_near(kept: Sequence[bytes], signs: Signs) -> tuple[int, int]:
    """How many paths probe, and how many creep, beside an earlier one of their tag; of one length, newest first."""
    newer, earlier = _pairs(len(kept))
    tags = np.array([int.from_bytes(one[:TAG_BYTES], "big") for one in kept])
    same = tags[newer] == tags[earlier]
    newer, earlier = newer[same], earlier[same]
    paths = _paths(kept)
    apart = np.abs(paths[newer] - paths[earlier])
    changed, furthest = np.count_nonzero(apart, axis=1), apart.max(axis=1, initial=0)
    # A path that was asked before shows nothing by itself: it is held against the others.
    probes = (changed > 0) & (changed <= signs.few_intervals)
    creeps = (changed > 0) & (furthest < signs.creeping * UNITS)
    return len(set(newer[probes].tolist())), len(set(newer[creeps].tolist()))


@lru_cache(maxsize=KEPT + 1)
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All pairs of so many paths, newest first: the newer one's row and the earlier one's, of each."""
    return np.triu_indices(count, 1)


def _paths(kept: Sequence[bytes]) -> NDArray[np.int32]:
    """Paths of one length in hundredths, shape (paths, intervals)."""
    joined = np.frombuffer(b"".join(one[TAG_BYTES:] for one in kept), dtype=">i2")
    return joined.reshape(len(kept), -1).astype(np.int32)


def _count_rough(kept: Sequence[bytes], signs: Signs) -> int:
    """How many jump: by the root mean square of the second differences, zero for what rises evenly; of one length."""
    bends = np.diff(_paths(kept), n=2, axis=1) / UNITS
    return int(np.count_nonzero((bends**2).sum(axis=1) > signs.rough**2 * bends.shape[1]))
