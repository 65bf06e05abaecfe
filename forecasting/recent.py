"""What the last known days teach: whom to trust among the members, how far the level is off, how wide to be.

Everything here is worked out anew for each forecast from what was known at its gate closure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from scipy.optimize import nnls

from data.schema import Array, Utility

RECENT_DAYS = 14
# How good the members were in training counts like this many recent days.
STANDING_DAYS = 14.0
DEALT_EVENLY = 0.1
TILT = 2.0
WORTH_HAVING = 0.05
CORRECTED_DAYS = 8
FADING = 0.5
LARGEST_SHARE = 0.6
SMOOTHED_HOURS = 1


@dataclass(frozen=True)
class Achieved:
    """Forecasts of days that are over, in order of time, and what was drawn; relative units.

    said: shape (members, days, slots), by fits that had not seen the day; drawn, spread: shape (days, slots), NaN where
    demand is not known.
    """

    days: tuple[date, ...]
    said: Array
    drawn: Array
    spread: Array

    def followed_by(self, later: Achieved) -> Achieved:
        """These days, then those."""
        return Achieved(
            self.days + later.days,
            np.concatenate([self.said, later.said], axis=1),
            np.concatenate([self.drawn, later.drawn]),
            np.concatenate([self.spread, later.spread]),
        )

    def within(self, first: date, last: date) -> Achieved:
        """Only the days from `first` to `last`, both included."""
        kept = np.array([first <= day <= last for day in self.days], dtype=np.bool_)
        days = tuple(day for day in self.days if first <= day <= last)
        return Achieved(days, self.said[:, kept], self.drawn[kept], self.spread[kept])

    def missed(self, weights: Array) -> Array:
        """What the weighted forecast missed by, shape (days, slots): positive when too little was forecast."""
        missed: Array = self.drawn - np.tensordot(weights, self.said, axes=1)
        return missed


def usual_weights(missed: Array) -> Array:
    """Weights of the members, none negative, sum 1, under which their forecasts of the training days together miss least.

    missed: what each member missed by, shape (members, days, slots). A tenth is dealt out evenly, so that none is lost for
    good. Source: Granger & Ramanathan (1984), "Improved methods of combining forecasts", with weights that must not be
    negative.
    """
    members = len(missed)
    flat = missed.reshape(members, -1)
    together = flat @ flat.T / flat.shape[1]
    # The row of heavy ones makes non-negative least squares keep the sum at one.
    heavy = 1e3 * np.sqrt(np.trace(together) / members)
    system = np.vstack([np.linalg.cholesky(together + 1e-9 * heavy * np.eye(members)).T, np.full(members, heavy)])
    best, _ = nnls(system, np.r_[np.zeros(members), heavy])
    weights: Array = (1 - DEALT_EVENLY) * best / best.sum() + DEALT_EVENLY / members
    return weights


def worth_having(missed: Array, core: list[int]) -> list[int]:
    """Numbers of the members to keep, in order: `core`, and while there is one, the member with which they miss least.

    A member is worth having that takes 5 % off the mean squared error: less is not worth its share of every forecast's time.
    missed: see usual_weights. Without a core it begins with the best one.
    """

    def squared(members: list[int]) -> float:
        chosen = missed[members]
        return float((np.tensordot(usual_weights(chosen), chosen, axes=1) ** 2).mean())

    numbers = range(len(missed))
    kept = core or [min(numbers, key=lambda number: squared([number]))]
    while len(kept) < len(missed):
        best = min((number for number in numbers if number not in kept), key=lambda number: squared([*kept, number]))
        if squared([*kept, best]) > (1 - WORTH_HAVING) * squared(kept):
            break
        kept = [*kept, best]
    return sorted(kept)


def weights_of(usual: Array, usual_error: Array, achieved: Achieved) -> Array:
    """Weights of the members now, sum 1: the usual ones, tilted by how much better or worse each one recently was.

    usual_error: mean squared error of each from realised weather in training, which the days that are over were forecast
    from too; it counts like 14 days.
    """
    error = (achieved.said - achieved.drawn) ** 2
    known = np.isfinite(error)
    days = known[0].sum() / max(error.shape[2], 1)
    recent = np.where(known, error, 0.0).sum(axis=(1, 2)) / max(known[0].sum(), 1)
    mean = (days * recent + STANDING_DAYS * usual_error) / (days + STANDING_DAYS)
    tilted = usual * (np.maximum(usual_error, 1e-12) / np.maximum(mean, 1e-12)) ** TILT
    weights: Array = tilted / tilted.sum()
    return weights


def carried_over(missed: Array, lead_days: int) -> Array:
    """For each day, the faded mean of the misses known at its gate closure; shape as `missed`, zero at the start."""
    answer = np.zeros_like(missed)
    for row in range(len(missed)):
        known = missed[max(0, row - lead_days - CORRECTED_DAYS) : max(0, row - lead_days)]
        answer[row] = faded_mean(known)
    return answer


def faded_mean(missed: Array) -> Array:
    """The last days' misses by time of day, the latest counting most, smoothed over neighbouring times; shape (slots,)."""
    last = missed[-CORRECTED_DAYS:]
    weight = FADING ** np.arange(len(last))[::-1, None] * np.isfinite(last)
    total = (np.where(np.isfinite(last), last, 0.0) * weight).sum(axis=0)
    mean = np.divide(total, weight.sum(axis=0), out=np.zeros(missed.shape[1]), where=weight.sum(axis=0) > 0)
    width = (SMOOTHED_HOURS * len(mean) // 24) | 1
    smooth: Array = np.convolve(np.pad(mean, width // 2, mode="edge"), np.full(width, 1.0 / width), mode="valid")
    return smooth


def share_to_correct(missed: Array, carried: Array) -> float:
    """The share of carried-over misses that comes true: least squares, between none and 0.6."""
    energy = float((carried**2).sum())
    return float(np.clip((missed * carried).sum() / energy, 0.0, LARGEST_SHARE)) if energy > 0 else 0.0


def recent_days(day: date, utility: Utility) -> list[date]:
    """The last days whose demand can be known whole when the forecast of `day` closes, oldest first."""
    latest = day - timedelta(days=utility.lead_days + 1)
    return [latest - timedelta(days=ago) for ago in range(RECENT_DAYS - 1, -1, -1)]
