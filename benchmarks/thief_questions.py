"""What the thief asks: thirteen ways to spend twenty thousand questions, from crude to patient.

    random      archive days under temperatures drawn from the archive's own variety (principal components)
    jittered    archive days under their own temperatures, smoothly disturbed
    mimic       archive days under their own temperatures and scenarios as people draw them, a working day's worth a day
    archive     no scenarios at all: the forecasts of the past, one a day of the archive, asked twice as fast as a backtest
    active      where the thief knows the least: the farthest of many candidates from all that it asked before
    grid        archive days on a regular grid of shifts
    derivatives single intervals moved, one after the other: finite differences
    interleaved `derivatives` on smoothly disturbed paths of the two latest days in turn, which the model did not learn from
    sybil       `jittered` over five accounts at a person's pace
    present     the coming day alone, with scenarios as a heavy user draws them, sixty a day
    presents    `present` over five accounts, each with scenarios of its own
    month       all days since the model in service was trained, under scenarios as people draw them, sixty a day
    unsuspected `present` at thirty-five a day, the pace of the heaviest genuine caller: no guard can tell it from one

Archive days are those that the model learned from. Held-out days are never asked for. Times are those of the thief's clock,
`BEGINS` at seven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from itertools import count, cycle

import numpy as np

from api.query_gate import AskedForecast, AskedWhatIf
from benchmarks.genuine_mix import SLOTS, Asking, moment, scenarios, since_training
from benchmarks.theft_oracle import ARCHIVE_BEGINS, BEGINS, HELD_OUT
from data.schema import Array, days_between

ACCOUNTS = 5
A_DAY = 60
UNSUSPECTED_A_DAY = 35
FAST_SECONDS = 0.5
COMPONENTS = 8
SHIFTS_C = np.arange(-6.0, 6.25, 0.25)
ARCHIVE = days_between(ARCHIVE_BEGINS, BEGINS - timedelta(days=1))

Temperatures = Mapping[date, Array]
Questions = Iterator[Asking]


def random_paths(temperature_c: Temperatures, random: np.random.Generator) -> Questions:
    """See the module."""
    paths = np.stack([temperature_c[day] for day in ARCHIVE])
    mean = paths.mean(axis=0)
    _, sizes, shapes = np.linalg.svd(paths - mean, full_matrices=False)
    spread = sizes[:COMPONENTS] / np.sqrt(len(paths))
    for number in count():
        day = ARCHIVE[int(random.integers(len(ARCHIVE)))]
        path = mean + (random.standard_normal(COMPONENTS) * spread) @ shapes[:COMPONENTS]
        yield _fast(number, "thief", day, path, temperature_c)


def jittered(temperature_c: Temperatures, random: np.random.Generator) -> Questions:
    """See the module."""
    for number in count():
        day = ARCHIVE[int(random.integers(len(ARCHIVE)))]
        yield _fast(number, "thief", day, temperature_c[day] + _smooth(random, 2.5), temperature_c)


def mimic(temperature_c: Temperatures, random: np.random.Generator) -> Questions:
    """See the module."""
    for number in count():
        day, today = ARCHIVE[int(random.integers(len(ARCHIVE)))], BEGINS + timedelta(days=number // A_DAY)
        drawn = [temperature_c[day], *scenarios(temperature_c[day], random, 1)]
        path = drawn[int(random.integers(len(drawn)))]
        yield _asking(moment(today, 7 + number % A_DAY / 6), "thief", day, path, temperature_c, today)


def archive(temperature_c: Temperatures, random: np.random.Generator) -> Questions:
    """See the module."""
    del temperature_c, random
    for number, day in enumerate(reversed(ARCHIVE)):
        yield Asking(moment(BEGINS, 7) + FAST_SECONDS * number, "thief", AskedForecast(day), BEGINS)


def active(temperature_c: Temperatures, random: np.random.Generator) -> Questions:
    """See the module."""
    candidates = jittered(temperature_c, random)
    asked: list[Array] = []
    for number in count():
        offered = [next(candidates) for _ in range(8)]
        places = [_place(one) for one in offered]
        known = np.stack(asked[-500:]) if asked else np.zeros((1, len(places[0])))
        nearest = [float(((known - place) ** 2).sum(axis=1).min()) for place in places]
        best = int(np.argmax(nearest))
        asked.append(places[best])
        yield Asking(moment(BEGINS, 7) + FAST_SECONDS * number, "thief", offered[best].asked, BEGINS)


def grid(temperature_c: Temperatures, random: np.random.Generator) -> Questions:
    """See the module."""
    days = [ARCHIVE[int(row)] for row in random.permutation(len(ARCHIVE))]
    for number, day in enumerate(cycle(day for day in days for _ in SHIFTS_C)):
        path = temperature_c[day] + SHIFTS_C[number % len(SHIFTS_C)]
        yield _fast(number, "thief", day, path, temperature_c)


def derivatives(temperature_c: Temperatures, random: np.random.Generator) -> Questions:
    """See the module."""
    days = [ARCHIVE[int(row)] for row in random.permutation(len(ARCHIVE))]
    for number, day in enumerate(cycle(day for day in days for _ in range(SLOTS))):
        path = temperature_c[day].copy()
        path[number % SLOTS] += 1.0
        yield _fast(number, "thief", day, path, temperature_c)


def interleaved(temperature_c: Temperatures, random: np.random.Generator) -> Questions:
    """See the module."""
    days, numbers = since_training(BEGINS)[-2:], count()
    while True:
        paths = [temperature_c[day] + _smooth(random, 2.5) for day in days]
        for slot in range(SLOTS):
            for day, path in zip(days, paths, strict=True):
                moved = path.copy()
                moved[slot] += 1.0
                yield _fast(next(numbers), "thief", day, moved, temperature_c)


def sybil(temperature_c: Temperatures, random: np.random.Generator) -> Questions:
    """See the module."""
    for number, one in enumerate(jittered(temperature_c, random)):
        today = BEGINS + timedelta(days=number // (ACCOUNTS * A_DAY // 2))
        subject = f"thief-{number % ACCOUNTS + 1}"
        yield Asking(moment(today, 7) + 120 * (number % (ACCOUNTS * A_DAY // 2)), subject, one.asked, today)


def present(temperature_c: Temperatures, random: np.random.Generator) -> Questions:
    """See the module."""
    return _presents(temperature_c, random, 1, A_DAY)


def presents(temperature_c: Temperatures, random: np.random.Generator) -> Questions:
    """See the module."""
    return _presents(temperature_c, random, ACCOUNTS, A_DAY)


def month(temperature_c: Temperatures, random: np.random.Generator) -> Questions:
    """See the module."""
    for ahead in count():
        today = BEGINS + timedelta(days=ahead)
        tomorrow = today + timedelta(days=1)
        if tomorrow not in temperature_c:
            return
        days = [day for day in (*since_training(today), tomorrow) if day not in HELD_OUT]
        for number in range(A_DAY):
            day = days[int(random.integers(len(days)))]
            drawn = [temperature_c[day], *scenarios(temperature_c[day], random, 1)]
            path = drawn[int(random.integers(len(drawn)))]
            yield _asking(moment(today, 7 + number / 6), "thief", day, path, temperature_c, today)


def unsuspected(temperature_c: Temperatures, random: np.random.Generator) -> Questions:
    """See the module."""
    return _presents(temperature_c, random, 1, UNSUSPECTED_A_DAY)


STRATEGIES: dict[str, Callable[[Temperatures, np.random.Generator], Questions]] = {
    "random": random_paths,
    "jittered": jittered,
    "mimic": mimic,
    "archive": archive,
    "active": active,
    "grid": grid,
    "derivatives": derivatives,
    "interleaved": interleaved,
    "sybil": sybil,
    "present": present,
    "presents": presents,
    "month": month,
    "unsuspected": unsuspected,
}


def _presents(temperature_c: Temperatures, random: np.random.Generator, accounts: int, a_day: int) -> Questions:
    for ahead in count():
        today = BEGINS + timedelta(days=ahead)
        tomorrow = today + timedelta(days=1)
        if tomorrow not in temperature_c:
            return
        if tomorrow in HELD_OUT:
            continue
        for account in range(accounts):
            base = temperature_c[tomorrow]
            for number, path in enumerate([base, *scenarios(base, random, 40)][:a_day]):
                yield _asking(moment(today, 7 + number / 6), f"thief-{account + 1}", tomorrow, path, temperature_c, today)


def _smooth(random: np.random.Generator, size_c: float) -> Array:
    """A disturbance that changes over hours, `size_c` in the root of its mean square."""
    knots = random.standard_normal(7) * size_c
    return np.interp(np.linspace(0, 6, SLOTS), np.arange(7), knots)


def _place(one: Asking) -> Array:
    asked = one.asked
    path = asked.temperatures_c if isinstance(asked, AskedWhatIf) else np.zeros(SLOTS)
    turn = 2 * np.pi * asked.day.timetuple().tm_yday / 365.25
    weekday = 10.0 * (asked.day.weekday() == np.arange(7))
    return np.concatenate([path[::4], 5 * np.array([np.sin(turn), np.cos(turn)]), weekday])


def _fast(number: int, subject: str, day: date, path_c: Array, temperature_c: Temperatures) -> Asking:
    return _asking(moment(BEGINS, 7) + FAST_SECONDS * number, subject, day, path_c, temperature_c, BEGINS)


def _asking(at: float, subject: str, day: date, path_c: Array, temperature_c: Temperatures, today: date) -> Asking:
    return Asking(at, subject, AskedWhatIf(day, path_c, temperature_c[day]), today)
