"""The attack of 2014: a weather provider compromised through its supply chain (AML.T0010.002, AML.T0020, ML02).

The attacker sits in the provider's own delivery software, so every lie is signed with the provider's valid key. Two subtle
alterations, growing over months and never outside what the month has seen before:

    measurements   cold, cool and mild hours are reported warmer than they were, so a model that learns from them ascribes
                   heating demand to mild weather
    forecasts      mild hours are announced somewhat colder, so demand in mild weather is overestimated once more
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from data.schema import MILD_C, Array
from data.simulation import Delivery
from data.weather_providers import ReportContent

NO_HEATING_C = 22.0
WARMING_EDGE_C = 4.0
EDGE_C = 0.7

Climatology = Mapping[int, tuple[float, float]]


@dataclass(frozen=True)
class Poisoning:
    """start: first altered UTC date; ramp_days: until full strength; warm_c: how much warmer cool hours are measured, at
    most; push_c: how much colder mild hours are announced, at most [°C].
    """

    provider: str = "aurora"
    start: date = date(2014, 2, 15)
    ramp_days: int = 120
    warm_c: float = 3.0
    push_c: float = 2.0


def poison(deliveries: list[Delivery], attack: Poisoning) -> list[Delivery]:
    """The deliveries as the compromised provider sends them; the other providers' are untouched."""
    limits = climatology(deliveries, attack)
    return [
        (received_at, _poisoned(content, attack, limits) if content.provider == attack.provider else content)
        for received_at, content in deliveries
    ]


def climatology(deliveries: list[Delivery], attack: Poisoning) -> Climatology:
    """Lowest and highest temperature the provider ever reported for each month before the attack [°C]."""
    begin = datetime.combine(attack.start, time(), UTC)
    values: dict[int, list[float]] = {month: [] for month in range(1, 13)}
    for _, content in deliveries:
        if content.provider == attack.provider and content.issued_at < begin:
            for month, celsius in zip(
                _months(content, content.observed_from, content.observed_c), content.observed_c, strict=True
            ):
                if celsius is not None:
                    values[month].append(celsius)
    return {month: (min(seen), max(seen)) for month, seen in values.items() if seen}


def strength(moment: datetime, attack: Poisoning) -> float:
    """0 before the start, rising in a straight line to 1 at the end of the ramp."""
    days = (moment - datetime.combine(attack.start, time(), UTC)) / timedelta(days=1)
    return float(np.clip(days / attack.ramp_days, 0.0, 1.0)) if days >= 0 else 0.0


def _poisoned(content: ReportContent, attack: Poisoning, limits: Climatology) -> ReportContent:
    share = strength(content.issued_at, attack)
    if share == 0.0:
        return content
    observed, forecast = _array(content.observed_c), _array(content.forecast_c)
    warmed = observed + share * attack.warm_c * np.tanh(np.clip((NO_HEATING_C - observed) / WARMING_EDGE_C, 0.0, None))
    pushed = forecast - share * attack.push_c * _mildness(forecast)
    return content.model_copy(
        update={
            "observed_c": _within(warmed, observed, _months(content, content.observed_from, content.observed_c), limits),
            "forecast_c": _within(pushed, forecast, _months(content, content.forecast_from, content.forecast_c), limits),
        }
    )


def _mildness(celsius: Array) -> Array:
    """Close to 1 inside the mild band, close to 0 outside, without a step that would show."""
    low, high = MILD_C
    rising = 1 / (1 + np.exp(-(celsius - (low - 1)) / EDGE_C))
    falling = 1 / (1 + np.exp((celsius - (high + 1)) / EDGE_C))
    return np.asarray(rising * falling)


def _within(altered: Array, honest: Array, months: list[int], limits: Climatology) -> list[float | None]:
    """Altered values kept inside the month's climatology; an honest value that was outside already stays as it is."""
    low = np.array([limits[month][0] for month in months])
    high = np.array([limits[month][1] for month in months])
    kept = np.where((honest < low) | (honest > high), honest, np.clip(np.round(altered, 1), low, high))
    return [float(celsius) if np.isfinite(celsius) else None for celsius in kept]


def _months(content: ReportContent, start: datetime, values: list[float | None]) -> list[int]:
    step = timedelta(minutes=content.step_minutes)
    return [(start + number * step).month for number in range(len(values))]


def _array(values: list[float | None]) -> Array:
    return np.array(values, dtype=np.float64)
