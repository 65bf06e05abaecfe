"""Which weeks of a provider do not agree with the others, or, where there are none, with what it says itself."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data.poison.evidence import Evidence, standardised, two_sided, upper
from data.poison.lags import best_lags
from data.poison.offsets import WEATHER_DURATIONS, amplitudes, stepwise_amplitudes
from data.schema import MILD_C, Array, Flags, Utility
from data.trust.calendar import harmonics_of
from data.trust.relation import middle_of
from data.weather_fusion import learn_profiles, without_bias

TRIMMED_SHARE = 0.1
ROUNDS = 3
MILD_MIDDLE_C = sum(MILD_C) / 2
UNIT_C = 5.0
LEAST_KNOWN = 0.5
# Against a spread of a degree, or of a share of demand.
SMALLEST = 1e-3


def freed_from_bias(wide: pd.DataFrame, week_of_row: Array, utility: Utility) -> pd.DataFrame:
    """Each provider's values without its usual bias, learned from the nine tenths of its weeks that fit best [°C].

    wide: index UTC, one column a provider; week_of_row: number of the week of each row, shape (rows,).
    """
    learned = wide
    for _ in range(ROUNDS):
        freed = without_bias(wide, learn_profiles(learned, utility), utility)
        learned = _without_worst_weeks(wide, freed, week_of_row)
    return without_bias(wide, learn_profiles(learned, utility), utility)


def against_others(values_c: Array, others_c: Array, alike: Flags) -> list[Evidence]:
    """Evidence of one provider against the middle of the others, both without bias, by slot, shape (weeks, slots)."""
    distance = values_c - others_c
    mild = (others_c >= MILD_C[0]) & (others_c <= MILD_C[1])
    patterns = {
        "weather offset": np.ones(distance.shape),
        "mild offset": np.where(mild, 1.0, 0.0),
        "cool offset": np.where(others_c < MILD_C[0], 1.0, 0.0),
        "stretched": (others_c - MILD_MIDDLE_C) / UNIT_C,
    }
    found = [pattern_evidence(kind, distance, pattern, alike) for kind, pattern in patterns.items()]
    gain, hours = best_lags(values_c, others_c)
    shifted = Evidence("shifted", upper("shifted", gain, alike).score, hours)
    return [*found, shape_evidence("weather shape", distance, alike), shifted]


def against_itself(values_c: Array, usual_c: Array, departed: Array, per_degree: Array, alike: Flags) -> list[Evidence]:
    """Evidence against a provider that stands alone: edges of a week and hours of the day that do not suit its other weeks,
    and what demand says.

    usual_c: see `climatology`; departed, per_degree: of demand, see block_influence. By slot, shape (weeks, slots).
    """
    departures = values_c - usual_c
    amplitude, edges = amplitudes(departures, np.ones(values_c.shape), WEATHER_DURATIONS)
    _, cooler = amplitudes(departed, per_degree)
    # Read too warm, a week begins and ends with a jump, and demand is what colder weather would make of it.
    both = (standardised(edges, alike) - standardised(cooler, alike)) / np.sqrt(2)
    # A week that stands late departs as the usual day's slope does.
    slope = np.gradient(usual_c, axis=1)
    return [
        Evidence("weather edges", two_sided("", edges, alike).score, amplitude),
        Evidence("weather offset", np.abs(both), amplitude),
        pattern_evidence("demand says otherwise", departed, per_degree, alike),
        pattern_evidence("shifted", departures, -slope, alike),
        shape_evidence("weather shape", departures, alike),
    ]


def climatology(values_c: Array, local: pd.DatetimeIndex) -> Array:
    """What a source usually says at an hour of the day and the season [°C], shape (rows,). local: naive local moments."""
    harmonics = harmonics_of(local)
    good = np.isfinite(values_c)
    rows = harmonics[good]
    weights = np.linalg.solve(rows.T @ rows + np.eye(rows.shape[1]), rows.T @ values_c[good])
    usual: Array = harmonics @ weights
    return usual


def middle_of_others(freed: pd.DataFrame, name: str) -> Array:
    """Median of all other columns, NaN where there is none, shape (rows,)."""
    return middle_of(freed.drop(columns=name).to_numpy(dtype=np.float64))


def pattern_evidence(kind: str, departures: Array, pattern: Array, alike: Flags) -> Evidence:
    """How surely each week holds a pattern, told by its size; see offsets.amplitudes."""
    amplitude, sureness = amplitudes(departures, pattern)
    return Evidence(kind, two_sided(kind, sureness, alike).score, amplitude)


def stepwise_evidence(kind: str, departures: Array, pattern: Array, alike: Flags) -> Evidence:
    """As `pattern_evidence`, one week after the other; see offsets.stepwise_amplitudes."""
    amplitude, sureness = stepwise_amplitudes(departures, pattern)
    return Evidence(kind, two_sided(kind, sureness, alike).score, amplitude)


def shape_evidence(kind: str, departures: Array, alike: Flags) -> Evidence:
    """How far each week departs once its mean is taken off; statistic: the standard deviation."""
    known = np.isfinite(departures)
    count = known.sum(axis=1)
    mean = np.where(known, departures, 0.0).sum(axis=1) / np.maximum(count, 1)
    square = (np.where(known, departures - mean[:, None], 0.0) ** 2).sum(axis=1) / np.maximum(count, 1)
    spread = np.where(count >= LEAST_KNOWN * departures.shape[1], np.sqrt(square), np.nan)
    return Evidence(kind, upper(kind, np.log(np.maximum(spread, SMALLEST)), alike).score, spread)


def _without_worst_weeks(wide: pd.DataFrame, freed: pd.DataFrame, week_of_row: Array) -> pd.DataFrame:
    kept = wide.copy()
    for name in wide.columns:
        if wide.shape[1] < 2:
            break
        distance = (freed[name].to_numpy(dtype=np.float64) - middle_of_others(freed, str(name))) ** 2
        loss = pd.Series(distance).groupby(week_of_row).mean()
        worst = loss.index[loss > loss.quantile(1 - TRIMMED_SHARE)]
        kept.loc[np.isin(week_of_row, worst), name] = np.nan
    return kept
