"""The lies that the weather watch is measured against: what a compromised source may deliver instead of its readings.

Each lie takes a source's honest readings [°C, NaN missing, shape (rows,)], the row it starts at, the rows in an hour and a
generator, and returns what is delivered; the readings stay as they are. Values are rounded as the source rounds, so that
no lie gives itself away by its digits (AML.T0020, AML.T0059).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from data.schema import MILD_C, Array, Flags

Lie = Callable[[Array, int, int, np.random.Generator], Array]

ROUNDINGS_C = (1.0, 1 / 1.8, 0.5, 0.1)
MILD_MIDDLE_C = 18.5
NOISE_HOURS = 3
SPIKE_C, SPIKE_SHARE = 8.0, 1 / 200
PATIENT_C_A_DAY, PATIENT_SHARE = 0.02, 0.98


def rounding_c(readings: Array) -> float:
    """The coarsest usual step [°C] that all readings are multiples of; 0.01 if there is none."""
    known = readings[np.isfinite(readings)]
    for step in ROUNDINGS_C:
        if np.allclose(known / step, np.round(known / step), atol=1e-4):
            return step
    return 0.01


def offset(celsius: float) -> Lie:
    """`celsius` too warm."""
    return lambda readings, start, _per_hour, _random: _from(start, readings, readings + celsius)


def ramp(celsius_a_day: float, most_c: float = np.inf) -> Lie:
    """Warmer by `celsius_a_day` every day, until it is `most_c` too warm."""

    def lie(readings: Array, start: int, per_hour: int, _random: np.random.Generator) -> Array:
        days = (np.arange(len(readings)) - start) / (24 * per_hour)
        return _from(start, readings, readings + np.clip(celsius_a_day * days, -most_c, most_c))

    return lie


def patient(smallest_c: float) -> Lie:
    """A slow ramp that stops just below `smallest_c`, the smallest offset that the watch accuses this source of.

    data/trust/honesty.py publishes it: a multiple of the source's honest spread, within bounds.
    """
    return ramp(PATIENT_C_A_DAY, PATIENT_SHARE * smallest_c)


def only_mild(celsius: float) -> Lie:
    """`celsius` too warm where the source itself reads mild weather."""
    return lambda readings, start, _per_hour, _random: _from(start, readings, readings + celsius * is_mild(readings))


def pull(share: float) -> Lie:
    """Every reading moved by `share` of its distance towards the middle of the mild band."""
    return lambda readings, start, _per_hour, _random: _from(start, readings, readings + share * (MILD_MIDDLE_C - readings))


def scale(factor: float) -> Lie:
    """Celsius degrees `factor` times too many."""
    return lambda readings, start, _per_hour, _random: _from(start, readings, readings * factor)


def shift(hours: float) -> Lie:
    """What was read `hours` before; 24: each day the day before is replayed."""

    def lie(readings: Array, start: int, per_hour: int, _random: np.random.Generator) -> Array:
        earlier = np.maximum(np.arange(len(readings)) - int(hours * per_hour), 0)
        return _from(start, readings, readings[earlier])

    return lie


def frozen(readings: Array, start: int, _per_hour: int, _random: np.random.Generator) -> Array:
    """The last value before the start for ever."""
    known = readings[:start][np.isfinite(readings[:start])]
    return _from(start, readings, np.full(len(readings), known[-1]))


def noisier(readings: Array, start: int, per_hour: int, random: np.random.Generator) -> Array:
    """White noise of the variance that the source's own readings show around their running mean of three hours."""
    honest = readings[:start]
    window = NOISE_HOURS * per_hour + 1
    smooth = np.convolve(honest, np.full(window, 1 / window), mode="same")
    noise_c = float(np.nanstd((honest - smooth)[window:-window]))
    return _from(start, readings, readings + noise_c * random.standard_normal(len(readings)))


def spikes(readings: Array, start: int, _per_hour: int, random: np.random.Generator) -> Array:
    """One reading in 200 is 8 °C off, either way."""
    struck = random.random(len(readings)) < SPIKE_SHARE
    return _from(start, readings, readings + SPIKE_C * struck * random.choice([-1, 1], len(readings)))


def fahrenheit(readings: Array, start: int, _per_hour: int, _random: np.random.Generator) -> Array:
    """Degrees Fahrenheit where Celsius is expected."""
    return np.where(np.arange(len(readings)) < start, readings, readings * 1.8 + 32)


def is_mild(readings: Array) -> Flags:
    """Where a reading lies in the mild band."""
    return np.asarray((readings >= MILD_C[0]) & (readings <= MILD_C[1]))


def _from(start: int, readings: Array, lie: Array) -> Array:
    step = rounding_c(readings)
    return np.where(np.arange(len(readings)) < start, readings, np.round(np.round(lie / step) * step, 6))


COLLUSION_C = 2.0
COLLUDERS = 2

LIES: Mapping[str, Lie] = {
    **{f"offset{celsius:+g}": offset(celsius) for celsius in (1.5, -1.5, 3.0, -3.0)},
    **{f"ramp{speed:+g}": ramp(speed) for speed in (0.02, -0.02, 0.05, -0.05)},
    **{f"mild{celsius:+g}": only_mild(celsius) for celsius in (2.0, -2.0)},
    "pull25%": pull(0.25),
    "pull50%": pull(0.50),
    "scale1.1": scale(1.1),
    "shift1h": shift(1),
    "shift3h": shift(3),
    "replay": shift(24),
    "frozen": frozen,
    "noise": noisier,
    "spikes": spikes,
    "fahrenheit": fahrenheit,
    # Told by COLLUDERS sources of five at once.
    "colluding": offset(COLLUSION_C),
}
