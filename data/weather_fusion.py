"""Several providers' values made one: each freed from its usual bias, then the weighted consensus of those that are trusted.

A provider's profile is its mean difference from the median of all, by hour of day and season, and its spread is how far it
usually stands from the middle of the others: both learned on a baseline period that is trusted. Who was close weighs more;
the consensus (data.trust.consensus) stands while fewer than half of the weight lies.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from data.errors import NoTrustedWeather
from data.schema import ISSUED_AT, PROVIDER, TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, VALID_AT, Array, Utility
from data.trust.consensus import UNKNOWN_SPREAD_C, accuracy_weights, fused_of, usual_spread

SOURCES = "sources"
LONGEST_GAP = pd.Timedelta(hours=6)


@dataclass(frozen=True)
class Profiles:
    """Each provider's usual bias: coefficients of diurnal and seasonal harmonics [°C]; spread_c: its usual distance from the
    middle of the others once that is taken off [°C, 1 σ]. Who has none has no known bias, and `UNKNOWN_SPREAD_C`.
    """

    coefficients: Mapping[str, Array]
    spread_c: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Exclusion:
    """What a provider said of these times is not used: from `since` on, before `until` where it was trusted again (UTC)."""

    since: pd.Timestamp
    until: pd.Timestamp | None = None


def known_at(
    weather: pd.DataFrame, moment: pd.Timestamp, start: pd.Timestamp, end: pd.Timestamp, step: pd.Timedelta
) -> pd.DataFrame:
    """What each provider said of [start, end] by `moment`, its latest word first: index UTC, one column a provider [°C].

    weather: the schema's weather frame, sorted by provider, valid_at, issued_at.
    """
    rows = weather[(weather[VALID_AT] >= start) & (weather[VALID_AT] <= end) & (weather[ISSUED_AT] <= moment)]
    latest = rows[~rows.duplicated([PROVIDER, VALID_AT], keep="last")]
    wide = latest.pivot(index=VALID_AT, columns=PROVIDER, values=TEMPERATURE_C)
    regular = pd.date_range(start, end, freq=step, name="timestamp")
    # One unit of time on both sides: pandas otherwise converts every label.
    return wide.reindex(regular.as_unit(pd.DatetimeIndex(wide.index).unit))


def learn_profiles(wide: pd.DataFrame, utility: Utility) -> Profiles:
    """Profile and spread of every column of `wide`; needs a trusted baseline, best a whole year or more."""
    consensus = wide.median(axis=1).to_numpy(dtype=np.float64)
    design = _harmonics(utility.local(pd.DatetimeIndex(wide.index)))
    coefficients = {}
    for name in wide.columns:
        difference = wide[name].to_numpy(dtype=np.float64) - consensus
        good = np.isfinite(difference)
        block = design[good]
        # A touch of ridge keeps the seasons flat that the baseline has not seen.
        normal = block.T @ block + np.diag([1e-6, *[1.0] * (design.shape[1] - 1)])
        coefficients[str(name)] = np.linalg.solve(normal, block.T @ difference[good])
    corrected = without_bias(wide, Profiles(coefficients), utility).to_numpy(dtype=np.float64)
    return Profiles(coefficients, {str(name): usual_spread(corrected, number) for number, name in enumerate(wide.columns)})


def without_bias(wide: pd.DataFrame, profiles: Profiles, utility: Utility) -> pd.DataFrame:
    """The same values with each provider's usual bias taken off."""
    harmonics = _harmonics(utility.local(pd.DatetimeIndex(wide.index)))
    none = np.zeros(harmonics.shape[1])
    usual = np.column_stack([harmonics @ profiles.coefficients.get(str(name), none) for name in wide.columns])
    return wide - usual


def fuse(wide: pd.DataFrame, profiles: Profiles, utility: Utility, trusted: Collection[str]) -> pd.DataFrame:
    """One robust temperature: columns `temperature_c`, `temperature_uncertainty_c` (1 σ), `sources` (how many agreed to it).

    wide: as `known_at` answers. Short gaps (≤ 6 h) are bridged in a straight line. One source alone is as uncertain as its
    own spread says. Raises NoTrustedWeather when no trusted provider said anything at all.
    """
    # In one order whatever theirs is: sums are the same to the last digit.
    names = sorted(name for name in wide.columns if name in trusted)
    if not names or not wide[names].notna().to_numpy().any():
        raise NoTrustedWeather(
            "no trusted weather source is left",
            where=f"{wide.index[0]:%Y-%m-%d} to {wide.index[-1]:%Y-%m-%d}",
            mend="readmit a provider, or forecast with the weather-free fallback",
        )
    values = without_bias(wide[names], profiles, utility).to_numpy(dtype=np.float64)
    spread_c = np.array([profiles.spread_c.get(str(name), UNKNOWN_SPREAD_C) for name in names])
    weights = np.broadcast_to(accuracy_weights(spread_c), values.shape)
    temperature, uncertainty, sources = fused_of(values, weights, spread_c, doubt_c=np.zeros(len(names)))
    return pd.DataFrame(
        {
            TEMPERATURE_C: bridged(pd.Series(temperature, wide.index), utility.step),
            TEMPERATURE_UNCERTAINTY_C: bridged(pd.Series(uncertainty, wide.index), utility.step),
            SOURCES: sources,
        }
    )


def bridged(by_interval: pd.Series, step: pd.Timedelta) -> pd.Series:
    """The same with gaps of up to six hours bridged in a straight line; longer ones stay whole."""
    missing = by_interval.isna()
    length = missing.groupby((~missing).cumsum()).transform("sum")
    short = missing & (length <= LONGEST_GAP / step)
    return by_interval.where(~short, by_interval.interpolate(limit_area="inside"))


def exclude(wide: pd.DataFrame, excluded: Mapping[str, Exclusion]) -> pd.DataFrame:
    """`wide` without anything that an excluded provider said of the times it is excluded for."""
    cleaned = wide.copy()
    for name, period in excluded.items():
        if name in cleaned.columns:
            withheld = cleaned.index >= period.since
            if period.until is not None:
                withheld &= cleaned.index < period.until
            cleaned.loc[withheld, name] = np.nan
    return cleaned


def _harmonics(local: pd.DatetimeIndex) -> Array:
    hour = 2 * np.pi * (local.hour + local.minute / 60).to_numpy(dtype=np.float64) / 24
    season = 2 * np.pi * local.day_of_year.to_numpy(dtype=np.float64) / 365.25
    diurnal = np.column_stack([np.cos(hour), np.sin(hour), np.cos(2 * hour), np.sin(2 * hour)])
    seasonal = np.column_stack([np.cos(season), np.sin(season)])
    crossed = np.einsum("ij,ik->ijk", diurnal[:, :2], seasonal).reshape(len(hour), -1)
    return np.column_stack([np.ones(len(hour)), diurnal, seasonal, crossed])


def known_at_gate_closures(weather: pd.DataFrame, utility: Utility, index: pd.DatetimeIndex) -> pd.DataFrame:
    """What each provider forecast for each interval of `index` by the gate closure of its local day; as `known_at`."""
    rows = weather[(weather[VALID_AT] >= index[0]) & (weather[VALID_AT] <= index[-1])]
    moments = pd.DatetimeIndex(rows[VALID_AT])
    midnight = utility.local(moments).tz_localize(None).normalize()
    days = midnight.unique()
    closures = pd.DatetimeIndex([utility.gate_closure_of(day.date()) for day in days], tz="UTC")
    in_time = rows[pd.DatetimeIndex(rows[ISSUED_AT]) <= closures[days.get_indexer(midnight)]]
    latest = in_time[~in_time.duplicated([PROVIDER, VALID_AT], keep="last")]
    return latest.pivot(index=VALID_AT, columns=PROVIDER, values=TEMPERATURE_C).reindex(index)
