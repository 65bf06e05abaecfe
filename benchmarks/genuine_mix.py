"""What genuine callers ask in thirty days: 10,000 questions of twelve callers, drawn anew for each seed.

Whoever forecasts demand for a living asks about the coming day, over and over, and about the past now and then:

    planner    each morning the week's forecasts again, then a few scenarios of the coming day
    trader     the coming day's forecast at every gate and whenever weather news comes; scenarios when it matters
    scenarist  the heavy what-if user: fans of ± 1 … 3 °C on the coming day, sea breezes and late changes drawn by hand, each
               refined a few times; twice a week a past day (the last hot one) is taken apart in the same way
    backtester each Monday, and now and then between, all forecasts since the model in service was trained: what lies
               before is no forecast, and comes from backtests (`POST /v1/backtests`), which nobody asks here
    dashboard  a screen that asks the same every few minutes

Scenarios start from the forecast temperature and change it in whole or half degrees over hours, as the tools for it do (a
slider, a curve with few handles). The share of what-ifs and of the past is deliberately high: a guard that passes this mix
passes a calmer one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from api.query_gate import AskedForecast, AskedWhatIf
from data.schema import Array, days_between

DAYS = 30
QUESTIONS = 10_000
SLOTS = 48
FAN_C = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
CALLERS = {"planner": 3, "trader": 3, "scenarist": 3, "backtester": 2, "dashboard": 1}


@dataclass(frozen=True, eq=False)
class Asking:
    """One question: who asks when (seconds since 1970), and what; today: the local day of that moment."""

    at: float
    subject: str
    asked: AskedForecast | AskedWhatIf
    today: date


def genuine_mix(seed: int, first: date, temperature_c: dict[date, Array], questions: int = QUESTIONS) -> list[Asking]:
    """`questions` questions in the order of time, from `first` on; dashboards fill what the others leave.

    temperature_c: of every day, what the forecasts rest on, shape (48,).
    """
    random = np.random.default_rng(seed)
    asked: list[Asking] = []
    for kind, count in CALLERS.items():
        for number in range(count):
            if kind != "dashboard":
                asked += list(_month(kind, f"{kind}-{number + 1}", first, temperature_c, random))
    if len(asked) > questions:
        raise ValueError(f"{len(asked)} questions before the dashboards', {questions} wanted")
    asked += _polling("dashboard-1", first, questions - len(asked))
    return sorted(asked, key=lambda one: one.at)


def scenarios(base_c: Array, random: np.random.Generator, refined: int) -> Iterator[Array]:
    """A fan, then `refined` paths drawn by hand on the base, each with a few refinements."""
    for shift in FAN_C:
        yield base_c + shift
    for _ in range(refined):
        start, length = int(random.integers(12, 38)), int(random.integers(6, 20))
        height = float(random.choice([-5.0, -4.0, -3.0, -2.0, 2.0, 3.0, 4.0, 5.0]))
        for step in range(int(random.integers(1, 4))):
            yield base_c + (height + 0.5 * step) * _hump(start, length)


def moment(day: date, hour: float) -> float:
    """Seconds since 1970 of an hour of a day."""
    return datetime.combine(day, time(), UTC).timestamp() + 3600 * hour


def learned_until(today: date) -> date:
    """The last day whose demand was wholly known when the model that serves `today` was trained: the house trains as of the
    gate closure of each month's first day, on the morning before.
    """
    return today.replace(day=1) - timedelta(days=2)


def since_training(today: date) -> list[date]:
    """The days up to `today` that the model which serves then did not learn from."""
    return days_between(learned_until(today) + timedelta(days=1), today)


def _month(
    kind: str, subject: str, first: date, temperature_c: dict[date, Array], random: np.random.Generator
) -> Iterator[Asking]:
    for ahead in range(DAYS):
        today = first + timedelta(days=ahead)
        if today.weekday() >= 5 and kind != "trader":
            continue
        hour = 7 + 2 * random.random()
        for asked in _today(kind, today, temperature_c, random):
            hour += float(random.exponential(0.03))
            yield Asking(moment(today, hour), subject, asked, today)


def _today(
    kind: str, today: date, temperature_c: dict[date, Array], random: np.random.Generator
) -> Iterator[AskedForecast | AskedWhatIf]:
    tomorrow = today + timedelta(days=1)
    if kind == "backtester":
        if today.weekday() == 0 or random.random() < 0.2:
            yield from (AskedForecast(day) for day in since_training(today))
        return
    yield AskedForecast(tomorrow, explained=True)
    if kind == "planner":
        yield from (AskedForecast(day) for day in since_training(today)[-6:])
        yield from _what_ifs(tomorrow, temperature_c, random, 2)
    elif kind == "trader":
        yield from [AskedForecast(tomorrow, quantiles=int(random.integers(3, 10)))] * int(random.integers(8, 25))
        if random.random() < 0.5:
            yield from _what_ifs(tomorrow, temperature_c, random, 4)
    else:
        yield from _what_ifs(tomorrow, temperature_c, random, int(random.integers(10, 22)))
        if today.weekday() in (1, 3):
            past = since_training(today)
            yield from _what_ifs(past[int(random.integers(len(past)))], temperature_c, random, 3)


def _what_ifs(
    day: date, temperature_c: dict[date, Array], random: np.random.Generator, refined: int
) -> Iterator[AskedWhatIf]:
    base = temperature_c[day]
    for path in scenarios(base, random, refined):
        yield AskedWhatIf(day, path, base)


def _polling(subject: str, first: date, count: int) -> list[Asking]:
    every = DAYS * 24 / max(count, 1)
    asked = []
    for number in range(count):
        days, hour = divmod(every * number, 24)
        today = first + timedelta(days=int(days))
        asked.append(Asking(moment(today, hour), subject, AskedForecast(today + timedelta(days=1)), today))
    return asked


def _hump(start: int, length: int) -> Array:
    """Rises and falls over `length` intervals from `start`; 1 in its middle, nothing elsewhere."""
    hump = np.zeros(SLOTS)
    stop = min(start + length, SLOTS)
    hump[start:stop] = np.sin(np.pi * (np.arange(stop - start) + 0.5) / length)
    return hump
