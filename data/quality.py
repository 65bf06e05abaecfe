"""The faults that meters have, found and mended: duplicates, unit slips, stuck registers, gaps.

What is normal for a meter is learned from its first weeks in the batch only, so that a later fault cannot move it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from data.errors import DataError
from data.schema import TIMESTAMP, Array, Flags, Integers, Utility

REFERENCE_DAYS = 56
STUCK_INTERVALS = 6
SMALLEST_SHARE_PRESENT = 0.5
# A meter's load moves by far less than a factor of 100 around its normal; kW sent as W is a factor of 1000.
UNIT_SLIP_FACTOR = 100


@dataclass(frozen=True)
class MeterFindings:
    """How many readings of each fault were found: `conflicting` duplicates are set aside, the rest mended."""

    readings: int
    duplicates: int
    conflicting: int
    unit_slips: int
    stuck: int
    gaps: int


def repair(readings: pd.DataFrame, utility: Utility, *, hindsight: bool = True) -> tuple[pd.Series, MeterFindings]:
    """Total power [W] for each interval, and what was mended.

    readings: columns `meter`, `timestamp`, `received_at`, `power_w`, any order. An interval in which meters for less than
    half of the load reported is NaN. hindsight: a stuck register is told by six equal readings; with hindsight they all
    count as stuck from the second on, without it only the sixth and later ones. Raises DataError when there is nothing
    to use.
    """
    if readings.empty:
        raise DataError("no meter readings", where="meters", mend="check the meter feed")
    index, values, duplicates, conflicting = _by_interval_and_meter(readings, utility)
    reference = values[: REFERENCE_DAYS * utility.steps_per_day]
    values, slipped = _undo_unit_slips(values, pd.DataFrame(reference).median().to_numpy())
    stuck = _stuck(values, hindsight=hindsight)
    values = np.where(stuck, np.nan, values)
    missing = ~np.isfinite(values)
    slot = np.arange(len(values)) % utility.steps_per_day
    total = _total_with_gaps_filled(values, _shares(reference, slot[: len(reference)])[slot])
    findings = MeterFindings(
        readings=len(readings),
        duplicates=duplicates,
        conflicting=conflicting,
        unit_slips=int(slipped.sum()),
        stuck=int(stuck.sum()),
        gaps=int((missing & ~stuck).sum()),
    )
    return pd.Series(total, index=index, name="power_w"), findings


def _by_interval_and_meter(readings: pd.DataFrame, utility: Utility) -> tuple[pd.DatetimeIndex, Array, int, int]:
    """Power [W], shape (intervals, meters), NaN where nothing came; how many readings came again, saying the same or not.

    Of several readings of one interval the first received counts; of those received together, the smallest.
    """
    moments = pd.DatetimeIndex(readings[TIMESTAMP]).as_unit("us")
    start = moments.min().floor(utility.step)
    index = pd.date_range(start, moments.max(), freq=utility.step, unit="us", name=TIMESTAMP)
    since, step = (moments - start).to_numpy(), utility.step.to_timedelta64()
    received = pd.DatetimeIndex(readings["received_at"]).asi8
    meter, meters = pd.factorize(readings["meter"], sort=True)
    row, on_the_grid = since // step, since % step == np.timedelta64(0)
    place = np.where(on_the_grid, row * len(meters) + meter, -1)
    power = readings["power_w"].to_numpy(dtype=np.float64)
    values = np.full(len(index) * len(meters), np.nan)
    values[place[on_the_grid]] = power[on_the_grid]
    often = on_the_grid & (np.bincount(place + 1, minlength=len(values) + 1)[place + 1] > 1)
    # Few come twice: only those are put in order.
    several = pd.DataFrame({"place": place[often], "at": received[often], "power": power[often]})
    several = several.sort_values(["at", "power"])
    again = several.duplicated("place")
    conflicting = again & ~several.duplicated(["place", "power"])
    first = several[~again]
    values[first["place"]] = first["power"]
    counts = int((again & ~conflicting).sum()), int(conflicting.sum())
    return index, values.reshape(len(index), len(meters)), *counts


def _undo_unit_slips(values: Array, normal: Array) -> tuple[Array, Flags]:
    size, usual = np.abs(values), np.abs(normal)
    low = (size < usual / UNIT_SLIP_FACTOR) & (values != 0)
    high = (size > usual * UNIT_SLIP_FACTOR) & (usual > 0)
    mended = np.where(low, values * 1000, np.where(high, values / 1000, values))
    return mended, low | high


def _stuck(values: Array, *, hindsight: bool) -> Flags:
    """True where a register no longer moves: at least six equal readings in a row that are not zero."""
    same = np.zeros(values.shape, dtype=bool)
    same[1:] = (values[1:] == values[:-1]) & (values[1:] != 0)
    run = np.zeros(values.shape, dtype=np.int64)
    for row in range(1, len(values)):
        run[row] = np.where(same[row], run[row - 1] + 1, 0)
    for row in range(len(values) - 2, -1, -1) if hindsight else ():
        run[row] = np.where(same[row + 1] & same[row], run[row + 1], run[row])
    return run >= STUCK_INTERVALS - 1


def _shares(reference: Array, slot: Integers) -> Array:
    """Each meter's usual share of the total by time of day (UTC), shape (slots, meters)."""
    complete = np.isfinite(reference).all(axis=1)
    shares = np.full((int(slot.max()) + 1, reference.shape[1]), 1 / reference.shape[1])
    whole = reference.sum(axis=1, keepdims=True)
    complete &= whole[:, 0] != 0
    part = np.divide(reference, whole, out=np.zeros_like(reference), where=whole != 0)
    for number in np.unique(slot[complete]):
        usual = np.median(part[complete & (slot == number)], axis=0)
        shares[number] = usual / usual.sum()
    return shares


def _total_with_gaps_filled(values: Array, shares: Array) -> Array:
    present = np.isfinite(values)
    share_present = (present * shares).sum(axis=1)
    measured = np.where(present, values, 0.0).sum(axis=1)
    enough = share_present >= SMALLEST_SHARE_PRESENT
    scaled: Array = np.divide(measured, share_present, out=np.full(len(values), np.nan), where=enough)
    return np.where(present.all(axis=1), measured, scaled)
