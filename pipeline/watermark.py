"""Whose answers a model was learned from: each caller's answers bear a mark, and what is learned from them bears it too.

The mark of a caller is a sign for each interval of each weekday (`pipeline.disguise.MARK_SHARE` up or down), drawn from the
station's secret and the caller's name. A suspect's forecasts are held against the station's own of the same days; what they
differ by, its slow parts taken off, is laid over the mark of every caller. Somebody who never asked looks like chance: the
same is done with marks of callers who do not exist, and their spread is the measure. z is how many such spreads the overlap
is above chance; false alarms are counted, not assumed (`p`: the share of the made-up callers that look as guilty).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from data.schema import Array
from pipeline.disguise import signs_of
from security.key_chest import KeyChest
from security.query_guard import watermark_of

SECRET = "query-guard"  # noqa: S105 (its name in the chest)
SECRET_BYTES = 32
# Intervals over which a difference counts as slow: errors of a model last, marks do not.
SLOW_INTERVALS = 7
MADE_UP = 2000
# A suspect is named above this: about one in a million of what chance does to one caller.
NAMED_Z = 4.75


@dataclass(frozen=True)
class Overlap:
    """How much a suspect's forecasts bear one caller's mark. z: in spreads of chance; p: share of made-up callers above."""

    subject: str
    z: float
    p: float

    @property
    def recognised(self) -> bool:
        """Whether chance is no explanation."""
        return self.z >= NAMED_Z


def guard_secret(chest: KeyChest) -> bytes:
    """The secret that seeds and watermarks are drawn from; made at first use, also when two processes start at once."""
    with chest.held(alone=True):
        kept = chest.kept(SECRET)
        if kept is None:
            kept = secrets.token_bytes(SECRET_BYTES)
            chest.keep(SECRET, kept)
    return kept


def mark_name(day: date) -> bytes:
    """Which part of a caller's watermark the answers of a local day bear."""
    return b"weekday %d" % day.weekday()


def mark_of(secret: bytes, subject: str, slots: int) -> Array:
    """The caller's mark on each weekday, Monday first, +1 or −1, shape (7, slots)."""
    return np.stack([signs_of(watermark_of(secret, subject, b"weekday %d" % weekday), slots) for weekday in range(7)])


def recognise(
    suspect_mw: Array, own_mw: Array, days: Sequence[date], subjects: Sequence[str], secret: bytes
) -> list[Overlap]:
    """How much the suspect's forecasts bear each caller's mark, the most first.

    suspect_mw, own_mw: what the suspect and the station forecast of `days`, shape (days, slots), NaN where not known.
    """
    slots = own_mw.shape[1]
    difference = _quick(np.log(np.maximum(suspect_mw, 1e-9) / np.maximum(own_mw, 1e-9)))
    by_weekday = _by_weekday(difference, days)
    chance = np.array([_overlap(by_weekday, secret, f"\0made up {number}", slots) for number in range(MADE_UP)])
    centre, spread = float(chance.mean()), float(chance.std()) or 1.0
    found = []
    for subject in subjects:
        overlap = _overlap(by_weekday, secret, subject, slots)
        found.append(Overlap(subject, (overlap - centre) / spread, float((1 + (chance >= overlap).sum()) / (1 + MADE_UP))))
    return sorted(found, key=lambda one: -one.z)


def _quick(difference: Array) -> Array:
    """A relative difference without what lasts longer than `SLOW_INTERVALS` and without the few that would outweigh all."""
    width = SLOW_INTERVALS // 2
    padded = np.pad(np.where(np.isfinite(difference), difference, 0.0), ((0, 0), (width, width)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, SLOW_INTERVALS, axis=1)
    quick = np.where(np.isfinite(difference), difference - windows.mean(axis=2), 0.0)
    limit = 4.0 * float(np.median(np.abs(quick))) or 1.0
    return np.clip(quick, -limit, limit)


def _by_weekday(quick: Array, days: Sequence[date]) -> Array:
    """The mean of each weekday's rows, shape (7, slots): a mark is the same every week."""
    weekday = np.array([day.weekday() for day in days])
    total = np.zeros((7, quick.shape[1]))
    np.add.at(total, weekday, quick)
    return total / np.maximum(np.bincount(weekday, minlength=7), 1)[:, None]


def _overlap(by_weekday: Array, secret: bytes, subject: str, slots: int) -> float:
    return float((mark_of(secret, subject, slots) * by_weekday).mean())
