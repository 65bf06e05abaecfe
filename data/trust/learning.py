"""What the trusted baseline teaches: usual readings, usual bias, spread and weight of each source, demand's habits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from data.schema import Array
from data.trust.calendar import harmonics_of
from data.trust.consensus import accuracy_weights, usual_spread
from data.trust.history import Hours, Rows, hours_of
from data.trust.readings import Usual, flags_of, learn_usual, months_of, unknown, usable
from data.trust.relation import learn_profiles, middle_of
from data.trust.rules import TrustRules
from data.trust.witness import Witness, learn_witness

COMMON_LEVEL_C = 15.0


@dataclass(frozen=True)
class Learned:
    """usual: readings of each source; profiles: usual bias (harmonics); spread_c: hourly spread [°C]; weight: in the fusion;
    hours: the baseline itself, profiles taken off; witness: None without demand.
    """

    usual: Usual
    profiles: Array
    spread_c: Array
    weight: Array
    hours: Hours
    witness: Witness | None

    @property
    def known_days(self) -> Array:
        """Days' worth of usable hours of each source in the baseline, shape (sources,)."""
        return np.asarray(np.isfinite(self.hours.known).sum(axis=0) / 24)


def learn(
    rows: Rows, heard: Sequence[int], timezone: str, per_hour: int, first_day: pd.Timestamp, rules: TrustRules
) -> Learned:
    """Learn from rows that are whole local days, the first of which is `first_day`."""
    sources = rows.readings.shape[1]
    month = months_of(rows.index, timezone)
    everybody = np.zeros(sources, dtype=bool)
    everybody[list(heard)] = True
    nothing = np.full(rows.readings.shape, np.nan)
    flags = flags_of(rows.readings, nothing, everybody, month, unknown(sources, rules, per_hour), rules, per_hour)
    clock = (per_hour, timezone, first_day)
    first = hours_of(replace(rows, readings=usable(rows.readings, flags)), *clock, yearly=rules.sees_a_year)
    profiles = learn_profiles(first.known, first.clock)
    local = rows.index.tz_convert(timezone).tz_localize(None)
    corrected = usable(rows.readings, flags) - harmonics_of(local) @ profiles
    departure = corrected - middle_of(corrected)[:, None]
    usual = learn_usual(rows.readings, departure, month, rules, per_hour)
    flags = flags_of(rows.readings, corrected, everybody, month, usual, rules, per_hour)
    raw = hours_of(replace(rows, readings=usable(rows.readings, flags)), *clock, yearly=rules.sees_a_year)
    hours = raw.less(profiles, list(heard), COMMON_LEVEL_C)
    spread = np.array([usual_spread(hours.known, source) for source in range(sources)])
    return Learned(usual, profiles, spread, accuracy_weights(spread), hours, _witness(hours))


def _witness(hours: Hours) -> Witness | None:
    if not np.isfinite(hours.demand_mw).any():
        return None
    days = hours.daily()
    return learn_witness(days.demand_mw, days.temperature_c, days.weekday, days.season)
