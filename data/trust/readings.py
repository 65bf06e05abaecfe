"""Levels 1 and 2: is a reading possible, and consistent in itself? Each reading carries its flags.

    level 1  invalid     outside physics, or no number
             unusual     further outside the month's range than the margin
             gross       further from the middle of three or more sources than any honest thermometer
    level 2  spike       a jump against the others' move
             frozen      one value for longer than this source ever showed
             repeated    the last day's readings are the day before's

Every flag of a row rests on that row and the two days before it only, so that one row at a time gives the same flags as
a whole history.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
import pandas as pd

from data.schema import Array, Flags, Integers
from data.trust.relation import middle_of
from data.trust.rules import TrustRules

CONTEXT_DAYS = 2
LONGEST_RUN_HOURS = 36.0
RUN_MARGIN = 1.5
SHARE_MARGIN, LARGEST_SHARE = 0.15, 0.97
FEWEST_VALUES_A_DAY = 6
SPIKE_MEMORY_HOURS = 3.0
SPIKE_SPREADS = 10.0
LEAST_SPIKES_A_DAY = 0.03
# The same reading said in other digits: no thermometer tells less apart.
SAME_C = 0.005


class Flag(IntFlag):
    """What was found about one reading; 0 is a reading without reproach."""

    MISSING = 1
    INVALID = 2
    UNUSUAL = 4
    GROSS = 8
    SPIKE = 16
    FROZEN = 32
    REPEATED = 64
    SUSPECT = 128
    EXCLUDED = 256


UNUSABLE = Flag.MISSING | Flag.INVALID | Flag.UNUSUAL | Flag.GROSS | Flag.SPIKE | Flag.FROZEN | Flag.REPEATED


@dataclass(frozen=True)
class Usual:
    """What each source's readings usually are, learned on the baseline.

    lowest, highest: by month, shape (12, sources) [°C], margin included; longest_run: rows; repeat_share: of a day's
    readings; spike_c: [°C]; spikes_a_day: shapes (sources,).
    """

    lowest: Array
    highest: Array
    longest_run: Array
    repeat_share: Array
    spike_c: Array
    spikes_a_day: Array


def unknown(sources: int, rules: TrustRules, per_hour: int) -> Usual:
    """Before anything is learned: physics alone, and the longest runs."""
    low, high = rules.physics_c
    return Usual(
        lowest=np.full((12, sources), low),
        highest=np.full((12, sources), high),
        longest_run=np.full(sources, LONGEST_RUN_HOURS * per_hour),
        repeat_share=np.full(sources, LARGEST_SHARE),
        spike_c=np.full(sources, np.inf),
        spikes_a_day=np.full(sources, LEAST_SPIKES_A_DAY),
    )


def learn_usual(raw: Array, departure: Array, month: Integers, rules: TrustRules, per_hour: int) -> Usual:
    """Learn from a baseline. raw: readings [°C]; departure: from the middle of all, profiles taken off; (rows, sources)."""
    physical = np.where((raw >= rules.physics_c[0]) & (raw <= rules.physics_c[1]), raw, np.nan)
    sources = raw.shape[1]
    lowest, highest = np.full((12, sources), rules.physics_c[0]), np.full((12, sources), rules.physics_c[1])
    for number in range(12):
        near = np.isin(month, [(number - 1) % 12 + 1, number + 1, (number + 1) % 12 + 1])
        seen = np.isfinite(physical[near]).any(axis=0)
        if seen.any():
            part = physical[near][:, seen]
            lowest[number, seen] = np.nanmin(part, axis=0) - rules.climatology_margin_c
            highest[number, seen] = np.nanmax(part, axis=0) + rules.climatology_margin_c
    runs = _runs(raw).max(axis=0)
    shares = np.nan_to_num(_repeated_share(raw, per_hour)[0]).max(axis=0)
    memory = int(SPIKE_MEMORY_HOURS * per_hour)
    jumps = np.abs(departure - _before(departure, memory))
    spread = np.array([_spread(column[np.isfinite(column)]) for column in jumps.T])
    spike_c = np.maximum(rules.spike_c, SPIKE_SPREADS * spread)
    days = max(len(raw) / (24 * per_hour), 1.0)
    return Usual(
        lowest=lowest,
        highest=highest,
        longest_run=np.clip(RUN_MARGIN * runs, rules.frozen_hours * per_hour, LONGEST_RUN_HOURS * per_hour),
        repeat_share=np.clip(shares + SHARE_MARGIN, rules.repeat_share, LARGEST_SHARE),
        spike_c=spike_c,
        spikes_a_day=np.maximum(1.5 * isolated(jumps > spike_c).sum(axis=0) / days, LEAST_SPIKES_A_DAY),
    )


def flags_of(
    raw: Array, corrected: Array, heard: Flags, month: Integers, usual: Usual, rules: TrustRules, per_hour: int
) -> Integers:
    """Flags of every row, shape (rows, sources); rows of the first CONTEXT_DAYS are right only at the very beginning.

    raw: readings [°C]; corrected: profiles taken off, NaN in all columns while none is learned; heard: sources whose middle
    the others are held against.
    """
    missing = np.isnan(raw)
    low, high = rules.physics_c
    invalid = ~missing & ~((raw >= low) & (raw <= high))
    value = np.where(invalid, np.nan, raw)
    calendar = month - 1
    unusual = _unusual(value, usual.lowest[calendar], usual.highest[calendar], heard, rules.climatology_margin_c)
    valid = np.where(invalid, np.nan, corrected)
    middle = middle_of(valid[:, heard])
    departure = valid - middle[:, None]
    compared = np.isfinite(valid[:, heard]).sum(axis=1) >= 3
    gross = compared[:, None] & (np.abs(departure) > rules.gross_c)
    memory = int(SPIKE_MEMORY_HOURS * per_hour)
    spike = compared[:, None] & (np.abs(departure - _before(departure, memory)) > usual.spike_c)
    frozen = _runs(raw) >= usual.longest_run
    share, varied = _repeated_share(raw, per_hour)
    repeated = (share >= usual.repeat_share) & varied
    flags = np.zeros(raw.shape, dtype=np.int64)
    for flag, found in (
        (Flag.MISSING, missing),
        (Flag.INVALID, invalid),
        (Flag.UNUSUAL, unusual),
        (Flag.GROSS, gross),
        (Flag.SPIKE, spike),
        (Flag.FROZEN, frozen),
        (Flag.REPEATED, repeated),
    ):
        flags |= np.where(found, int(flag), 0)
    return flags


def lasting(found: Flags, rows: int) -> Integers:
    """How many of the last `rows` readings were found so, at each row; shape as `found`."""
    total = np.cumsum(np.concatenate([np.zeros((1, found.shape[1]), dtype=np.int64), found]), axis=0)
    start = np.maximum(np.arange(len(found)) + 1 - rows, 0)
    return np.asarray(total[1:] - total[start])


def isolated(spikes: Flags) -> Flags:
    """Spikes of a single row: a front that reaches a source earlier than the others lasts for several."""
    alone = spikes.copy()
    alone[1:] &= ~spikes[:-1]
    alone[:-1] &= ~spikes[1:]
    return alone


def usable(raw: Array, flags: Integers) -> Array:
    """Readings without any of the flags that forbid their use, NaN elsewhere."""
    return np.where(flags & int(UNUSABLE), np.nan, raw)


def _unusual(value: Array, lowest: Array, highest: Array, heard: Flags, margin_c: float) -> Flags:
    """Outside the range, unless most of the heard are: a record is no fault. One or two alone have twice the margin."""
    outside = (value < lowest) | (value > highest)
    said = np.isfinite(value[:, heard]).sum(axis=1)
    most = outside[:, heard].sum(axis=1) * 2 > said
    far = (value < lowest - margin_c) | (value > highest + margin_c)
    return np.where(
        (said >= 3)[:, None], outside & ~most[:, None], np.where((said == 2)[:, None], far & ~most[:, None], far)
    )


def _runs(raw: Array) -> Array:
    """Length in rows of the run of equal values that ends at each row; a missing reading ends a run."""
    same = np.zeros(raw.shape, dtype=bool)
    same[1:] = _same(raw[1:], raw[:-1])
    row = np.arange(len(raw))[:, None]
    started = np.maximum.accumulate(np.where(same, 0, row), axis=0)
    return np.asarray((row - started + 1) * 1.0)


def _repeated_share(raw: Array, per_hour: int) -> tuple[Array, Flags]:
    """Share of the last day's readings that equal those a day before, and whether that day was varied enough to tell."""
    day = 24 * per_hour
    equal, paired = np.zeros(raw.shape, dtype=bool), np.zeros(raw.shape, dtype=bool)
    moved = np.zeros(raw.shape, dtype=bool)
    if len(raw) > day:
        equal[day:] = _same(raw[day:], raw[:-day])
        paired[day:] = np.isfinite(raw[day:]) & np.isfinite(raw[:-day])
    moved[1:] = ~_same(raw[1:], raw[:-1])
    count = lasting(paired, day)
    share = lasting(equal, day) / np.maximum(count, 1)
    share = np.where(count >= 0.6 * day, share, 0.0)
    return share, lasting(moved & np.isfinite(raw), day) >= FEWEST_VALUES_A_DAY


def _same(one: Array, other: Array) -> Flags:
    """Whether two readings are the same but for their last digits; what is missing or infinite is the same as nothing."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(one - other) < SAME_C)


def _before(values: Array, rows: int) -> Array:
    """Median of the `rows` rows before each one without its missing values, NaN at the start; shape as `values`."""
    padded = np.concatenate([np.full((rows, values.shape[1]), np.nan), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, rows, axis=0)[: len(values)]
    return middle_of(windows.reshape(-1, rows)).reshape(values.shape)


def _spread(values: Array) -> float:
    return 1.4826 * float(np.median(values)) if len(values) else 0.0


def months_of(index: pd.DatetimeIndex, timezone: str) -> Integers:
    """Local month 1–12 of each moment."""
    return np.asarray(index.tz_convert(timezone).month, dtype=np.int64)
