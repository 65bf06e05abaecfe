"""Feeder meters and weather providers around a real series: seeded, with the faults that real ones have.

The meters' clean readings sum to the real demand to the watt. The providers share most of their forecast error, as real
ones do (they read the same global models), and differ in bias, noise, rounding, gaps and delay. Sizes follow what was
measured on 25 real stations of one utility: spread of daily differences 0.6–2.2 °C there, biases of −4.3 to +1.4 °C; the
five here are providers for one city and differ less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from data.datasets import EmbeddedDataset
from data.schema import TIMESTAMP, Array, Integers, Utility
from data.weather_providers import ReportContent, UnverifiedReport, encode
from security.signing import Signer, sign_bytes

PROVIDER_NAMES = ("aurora", "boreas", "cirrus", "dewpoint", "eurus")
FEEDERS = 12
SHARED_ERROR = 0.8
REPORT_HOURS_BEFORE_GATE = 1
FORECAST_HOURS = 42


Delivery = tuple[datetime, ReportContent]


@dataclass(frozen=True)
class ProviderProfile:
    """How one provider differs from the truth: biases [°C], noise [°C], rounding [°C], delay [min], share of gaps."""

    name: str
    constant_bias_c: float
    diurnal_bias_c: float
    diurnal_phase_hours: float
    seasonal_bias_c: float
    noise_c: float
    forecast_skill: float
    rounding_c: float
    delay_minutes: int
    gap_share: float


def simulate_feeders(dataset: EmbeddedDataset, seed: int) -> Integers:
    """Clean feeder readings [W], shape (intervals, feeders): each row sums exactly to the real demand in watts."""
    random = np.random.default_rng([seed, 1])
    hour = (dataset.utility.local(pd.DatetimeIndex(dataset.demand_mw.index)).hour).to_numpy()
    share = random.dirichlet(np.full(FEEDERS, 20.0))
    phase = random.uniform(0, 24, FEEDERS)
    shape = share * (1 + 0.15 * np.cos(2 * np.pi * (hour[:, None] - phase) / 24))
    shape /= shape.sum(axis=1, keepdims=True)
    watts = dataset.demand_watts.to_numpy(dtype=np.int64)
    readings: Integers = np.floor(shape * watts[:, None]).astype(np.int64)
    readings[:, -1] += watts - readings.sum(axis=1)
    return readings


def simulate_meter_readings(dataset: EmbeddedDataset, seed: int) -> pd.DataFrame:
    """Raw readings as they arrive: columns `meter`, `timestamp`, `received_at`, `power_w`; order of receipt.

    With gaps, duplicates, late and out-of-order readings, a stuck meter a year and a unit slip (kW sent as W) a year.
    """
    random = np.random.default_rng([seed, 2])
    clean = simulate_feeders(dataset, seed)
    index = pd.DatetimeIndex(dataset.demand_mw.index)
    power = clean.copy()
    lost = np.zeros(power.shape, dtype=bool)
    per_year = dataset.utility.steps_per_day * 365
    for start in range(0, len(index) - per_year + 1, per_year):
        end = start + per_year
        _stick_one_meter(power, random, start, end, dataset.utility.steps_per_day)
        _slip_one_unit(power, random, start, end, dataset.utility.steps_per_day)
        for feeder in range(FEEDERS):
            for gap in random.integers(start, end, 6):
                lost[gap : gap + random.integers(1, dataset.utility.steps_per_day), feeder] = True
    rows, feeders = np.nonzero(~lost)
    seconds = random.uniform(60, 1500, len(rows))
    late = random.random(len(rows)) < 0.005
    seconds[late] = random.uniform(6 * 3600, 3 * 86400, late.sum())
    end_of_interval = index[rows] + dataset.utility.step
    readings = pd.DataFrame(
        {
            "meter": np.char.add("feeder-", (feeders + 1).astype(str)),
            TIMESTAMP: index[rows],
            "received_at": (end_of_interval + pd.to_timedelta(seconds, unit="s")).floor("s"),
            "power_w": power[rows, feeders],
        }
    )
    again = readings[random.random(len(readings)) < 0.002]
    again = again.assign(received_at=again["received_at"] + pd.Timedelta(minutes=7))
    return pd.concat([readings, again]).sort_values("received_at", kind="stable", ignore_index=True)


def simulate_providers(seed: int) -> tuple[ProviderProfile, ...]:
    """Five providers; `aurora`, the first, is the most accurate: the one the utility chose to trust."""
    random = np.random.default_rng([seed, 3])
    return tuple(
        ProviderProfile(
            name=name,
            constant_bias_c=float(random.normal(0, 0.6)),
            diurnal_bias_c=float(random.uniform(0.2, 0.8)),
            diurnal_phase_hours=float(random.uniform(0, 24)),
            seasonal_bias_c=float(random.uniform(0.0, 0.4)),
            noise_c=float(0.3 if number == 0 else random.uniform(0.3, 0.6)),
            forecast_skill=float(1.0 if number == 0 else random.uniform(1.0, 1.25)),
            rounding_c=(0.1, 0.1, 0.5, 0.1, 1.0)[number],
            delay_minutes=int(random.integers(5, 50)),
            gap_share=float(random.uniform(0.001, 0.01)),
        )
        for number, name in enumerate(PROVIDER_NAMES)
    )


def simulate_reports(
    temperature_c: pd.Series, utility: Utility, providers: tuple[ProviderProfile, ...], seed: int
) -> list[Delivery]:
    """Every daily report of every provider with its time of receipt, in order of receipt.

    temperature_c: the real temperature, index UTC, regular. A report is issued an hour before each gate closure; it
    holds the measurements of the 24 hours before and forecasts for the 42 hours after.
    """
    index = pd.DatetimeIndex(temperature_c.index)
    truth = temperature_c.to_numpy(dtype=np.float64)
    per_hour = int(pd.Timedelta(hours=1) / utility.step)
    issues = _issue_positions(index, utility)
    horizon = FORECAST_HOURS * per_hour
    random = np.random.default_rng([seed, 4])
    shared = _forecast_error(random, len(issues), horizon, per_hour)
    reports = []
    for provider in providers:
        biased = truth + _bias(provider, utility.local(index))
        observed = biased + _autocorrelated(random, len(truth), 1, 0.97 ** (2 / per_hour))[0] * provider.noise_c
        own = _forecast_error(random, len(issues), horizon, per_hour)
        error = np.sqrt(SHARED_ERROR) * shared + np.sqrt(1 - SHARED_ERROR) * own * provider.forecast_skill
        observed[random.random(len(truth)) < provider.gap_share] = np.nan
        for number, issue in enumerate(issues):
            ahead = biased[issue : issue + horizon]
            content = ReportContent(
                format=1,
                provider=provider.name,
                issued_at=_python_utc(index[issue]),
                step_minutes=60 // per_hour,
                observed_from=_python_utc(index[max(0, issue - 24 * per_hour)]),
                observed_c=_rounded(observed[max(0, issue - 24 * per_hour) : issue], provider.rounding_c),
                forecast_from=_python_utc(index[issue]),
                forecast_c=_rounded(ahead + error[number, : len(ahead)], provider.rounding_c),
            )
            reports.append((_python_utc(index[issue] + pd.Timedelta(minutes=provider.delay_minutes)), content))
    return sorted(reports, key=lambda item: (item[0], item[1].provider))


def deliver(deliveries: list[Delivery], signers: Mapping[str, Signer]) -> list[UnverifiedReport]:
    """Sign each report with its provider's key, as the provider's own software does, compromised or not."""
    reports = []
    for received_at, content in deliveries:
        signer, payload = signers[content.provider], encode(content)
        signature = sign_bytes(payload, signer)
        reports.append(UnverifiedReport(content.provider, signer.key_id, received_at, payload, signature))
    return reports


def _stick_one_meter(power: Integers, random: np.random.Generator, start: int, end: int, per_day: int) -> None:
    feeder, begin = random.integers(FEEDERS), random.integers(start, end - 3 * per_day)
    power[begin : begin + random.integers(per_day, 3 * per_day), feeder] = power[begin, feeder]


def _slip_one_unit(power: Integers, random: np.random.Generator, start: int, end: int, per_day: int) -> None:
    feeder, begin = random.integers(FEEDERS), random.integers(start, end - 5 * per_day)
    power[begin : begin + 5 * per_day, feeder] //= 1000


def _issue_positions(index: pd.DatetimeIndex, utility: Utility) -> list[int]:
    local_days = utility.local(index).tz_localize(None).normalize().unique()
    moments = [
        utility.gate_closure_of((day + pd.Timedelta(days=1)).date()) - pd.Timedelta(hours=REPORT_HOURS_BEFORE_GATE)
        for day in local_days
    ]
    positions = index.get_indexer(pd.DatetimeIndex(moments))
    return [int(position) for position in positions if position > 0]


def _bias(provider: ProviderProfile, local: pd.DatetimeIndex) -> Array:
    hour = (local.hour + local.minute / 60).to_numpy(dtype=np.float64)
    day = local.day_of_year.to_numpy(dtype=np.float64)
    diurnal = provider.diurnal_bias_c * np.cos(2 * np.pi * (hour - provider.diurnal_phase_hours) / 24)
    seasonal = provider.seasonal_bias_c * np.cos(2 * np.pi * (day - 15) / 365.25)
    return np.asarray(provider.constant_bias_c + diurnal + seasonal)


def _forecast_error(random: np.random.Generator, issues: int, horizon: int, per_hour: int) -> Array:
    """Errors whose spread grows from 0.5 °C now to 2.0 °C after 39 hours, autocorrelated along the lead time."""
    lead_hours = np.arange(horizon) / per_hour
    spread = 0.5 + 1.5 * lead_hours / 39
    return spread * _autocorrelated(random, horizon, issues, 0.97 ** (2 / per_hour))


def _autocorrelated(random: np.random.Generator, length: int, paths: int, memory: float) -> Array:
    """AR(1) paths of unit variance, shape (paths, length)."""
    shocks = random.standard_normal((paths, length))
    shocks[:, 1:] *= np.sqrt(1 - memory**2)
    return np.asarray(lfilter([1.0], [1.0, -memory], shocks, axis=1))


def _rounded(values: Array, step: float) -> list[float | None]:
    steps = np.round(np.round(values / step) * step, 1)
    return [value if math.isfinite(value) else None for value in steps.tolist()]


def _python_utc(moment: pd.Timestamp) -> datetime:
    return moment.to_pydatetime().astimezone(UTC)
