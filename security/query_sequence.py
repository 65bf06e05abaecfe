"""What successive questions look like: people vary scenarios, programs measure derivatives.

A question that carries a path (a vector, one value an interval) is held against the ones just before it. Three signs:

    probing   successive paths that differ in one or two intervals only: finite differences, one derivative a question
    creeping  successive paths that nowhere differ by as much as anybody could mean: bisection towards a kink or a limit
    rough     paths that jump from interval to interval: random inputs, and the noise of a search

A path is given as its departure from what everybody knows, so that it is the caller's own doing that is judged.

Compare PRADA (Juuti et al. 2019, "PRADA: protecting against DNN model stealing attacks"), which tests the distances between
successive queries for normality. Genuine scenarios come in fans, whose distances are not normal either; so a distance
counts by what it is good for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Path = NDArray[np.int16]

KEPT = 32
UNITS = 100.0


@dataclass(frozen=True)
class Signs:
    """When a sequence is odd, in the path's own unit. fewest: how many of the last `KEPT` steps must show a sign."""

    few_intervals: int
    creeping: float
    rough: float
    fewest: int


def packed(tag: int, path: Sequence[float] | NDArray[np.float64]) -> bytes:
    """A path as it is kept: `tag` says which paths may be compared; values in hundredths, two bytes each."""
    scaled = np.clip(np.asarray(path, dtype=np.float64) * UNITS, -32_000, 32_000)
    return tag.to_bytes(4, "big") + np.rint(scaled).astype(">i2").tobytes()


def odd(newest: bytes, before: Sequence[bytes], signs: Signs) -> str:
    """The sign that the last questions show, or nothing. before: newest first; each as `packed`."""
    own = _path(newest)
    if before and before[0] == newest:
        return ""
    if _roughness(own) > signs.rough and _count_rough(before, signs) + 1 >= signs.fewest:
        return "rough"
    steps = [_step(one, other) for one, other in zip([newest, *before], before, strict=False) if one[:4] == other[:4]]
    if sum(0 < changed <= signs.few_intervals for changed, _ in steps) >= signs.fewest:
        return "probing"
    if sum(changed > 0 and distance < signs.creeping for changed, distance in steps) >= signs.fewest:
        return "creeping"
    return ""


def _path(kept: bytes) -> Path:
    return np.frombuffer(kept, dtype=">i2", offset=4).astype(np.int16)


def _step(one: bytes, other: bytes) -> tuple[int, float]:
    """In how many intervals two paths differ, and by how much at most."""
    first, second = _path(one), _path(other)
    if len(first) != len(second):
        return 0, 0.0
    difference = (first.astype(np.float64) - second) / UNITS
    return int(np.count_nonzero(difference)), float(np.abs(difference).max())


def _roughness(path: Path) -> float:
    """Root mean square of the second differences: zero for what rises evenly."""
    return float(np.sqrt(np.mean(np.diff(path.astype(np.float64) / UNITS, n=2) ** 2))) if len(path) > 2 else 0.0


def _count_rough(before: Sequence[bytes], signs: Signs) -> int:
    return sum(_roughness(_path(one)) > signs.rough for one in before)
