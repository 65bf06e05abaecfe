"""A caller who searches for the what-if temperatures that move the forecast furthest (AML.T0043, AML.T0015).

All it can do is ask and read. It is given more than that: how far each answer has moved, and how far a refused path was from
being believed. So what the search does not find, a real one does not find with as many questions.

The move. Demand follows weather, not jitter: what is answered for a path is held against what the same model says of the
nearest weather that was seen: each hour inside what its season has had, and smooth over three hours. What an answer's median
has moved from there beyond the interval that the answer states is the lie that the caller gets out, [% of the day's mean].

Search: evolution with a deviation for each interval and restarts, after Ros & Hansen (2008), "A simple modification in
CMA-ES achieving linear time and space complexity" (without the path of the step size). Steps are drawn as weather errs,
hour after hour alike, the more so the larger they are: white noise of any size is found at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.schema import Array

POPULATION, PARENTS = 20, 6
# One restart each, a quarter of the questions: from jitter to another climate [°C], and how alike neighbouring hours are.
RESTARTS = ((0.5, 0.0), (1.0, 0.9), (3.0, 0.98), (10.0, 0.99))
LEARNED_SHARE = 0.25
SMALLEST_STEP_C = 0.05
SMOOTH_HOURS = 3
SCHEMA_C = 60.0


@dataclass(frozen=True, eq=False)
class Answered:
    """What a caller is told: median and the stated interval around it [MW], shape (intervals,) each."""

    median_mw: Array
    low_mw: Array
    high_mw: Array


@dataclass(frozen=True)
class Refused:
    """distance: how far beyond belief, as the reasons tell."""

    distance: float


Ask = Callable[[Array], Answered | Refused]


@dataclass(frozen=True, eq=False)
class Found:
    """The furthest move [% of the day's mean] and its path [°C]; refused: how many questions of all were."""

    move_percent: float
    path_c: Array
    refused: int
    questions: int


def nearest_seen(path_c: Array, low_c: Array, high_c: Array) -> Array:
    """The path inside [low_c, high_c] and smooth over three hours; all by interval, shape (intervals,)."""
    width = (SMOOTH_HOURS * len(path_c) // 24) | 1
    inside = np.pad(np.clip(path_c, low_c, high_c), width // 2, mode="edge")
    return np.convolve(inside, np.full(width, 1 / width), mode="valid")


def move_beyond(answer: Answered, reference_mw: Array) -> float:
    """How far the median lies from the reference beyond its own interval, at the worst interval [% of the mean]."""
    moved = answer.median_mw - reference_mw
    stated = np.where(moved > 0, answer.median_mw - answer.low_mw, answer.high_mw - answer.median_mw)
    return float(100 * np.maximum(np.abs(moved) - stated, 0.0).max() / np.abs(reference_mw).mean())


def search(ask: Ask, reference: Callable[[Array], Array], start_c: Array, questions: int, seed: int) -> Found:
    """Ask `questions` times for the path that moves the answer furthest from what `reference` says of it [MW].

    start_c: a path that is believed. Both are asked with temperatures by interval [°C].
    """
    random = np.random.default_rng(seed)
    best, best_path, refused, asked = 0.0, start_c, 0, 0
    each = questions // len(RESTARTS)
    for first_step, memory in RESTARTS:
        centre, step = start_c.copy(), np.full(len(start_c), first_step)
        for _ in range(each // POPULATION):
            drawn = _alike(random.standard_normal((POPULATION, len(start_c))), memory)
            paths = np.clip(centre + step * drawn, -SCHEMA_C, SCHEMA_C)
            worth = np.empty(POPULATION)
            for number, path_c in enumerate(paths):
                answer = ask(path_c)
                asked += 1
                if isinstance(answer, Refused):
                    # Further from belief is worse than any answer.
                    refused, worth[number] = refused + 1, -100.0 * answer.distance
                    continue
                worth[number] = _worth(answer, reference(path_c))
                if worth[number] > best:
                    best, best_path = float(worth[number]), path_c
            parents = np.argsort(-np.nan_to_num(worth, neginf=-1e9))[:PARENTS]
            centre = paths[parents].mean(axis=0)
            spread = np.sqrt(((drawn[parents]) ** 2).mean(axis=0))
            step = np.maximum(step * ((1 - LEARNED_SHARE) + LEARNED_SHARE * spread), SMALLEST_STEP_C)
    return Found(best, best_path, refused, asked)


def _alike(shocks: Array, memory: float) -> Array:
    """Paths of unit variance whose neighbouring intervals are alike (a first-order autoregression)."""
    paths = shocks.copy()
    for number in range(1, paths.shape[1]):
        paths[:, number] = memory * paths[:, number - 1] + np.sqrt(1 - memory**2) * shocks[:, number]
    return paths


def _worth(answer: Answered, reference_mw: Array) -> float:
    """The move; where the interval still holds, how much of it is used up, below nought."""
    moved = move_beyond(answer, reference_mw)
    if moved > 0:
        return moved
    stated = np.maximum(answer.high_mw - answer.low_mw, 1e-9)
    return float((np.abs(answer.median_mw - reference_mw) / stated).max()) - 1.0
