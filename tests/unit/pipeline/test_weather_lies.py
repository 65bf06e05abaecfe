"""Every lie: silent before its start, as large as its name says, as rounded as the source, and never in place."""

from __future__ import annotations

import numpy as np
import pytest

from data.schema import Array
from pipeline.redteam.weather_lies import LIES, Lie, fahrenheit, frozen, is_mild, noisier, patient, rounding_c, spikes

PER_HOUR = 2
START = 30 * 48 + 7
ROWS = 120 * 48


@pytest.fixture
def readings() -> Array:
    """A hundred and twenty days around 18 °C in tenths, a gap before and a gap after the start."""
    random = np.random.default_rng(3)
    hour = np.arange(ROWS) / PER_HOUR
    level = 18 + 4 * np.sin(2 * np.pi * hour / (24 * 40))
    values: Array = np.round(level + 5 * np.cos(2 * np.pi * hour / 24) + random.normal(0, 0.4, ROWS), 1)
    values[START - 3 : START] = np.nan
    values[START + 100 : START + 140] = np.nan
    values.setflags(write=False)
    return values


def told(lie: Lie, readings: Array, seed: int = 1) -> Array:
    return lie(readings, START, PER_HOUR, np.random.default_rng(seed))


@pytest.mark.parametrize("name", [*LIES, "patient"])
def test_nothing_is_altered_before_the_start_and_something_after_it(name: str, readings: Array):
    delivered = told(patient(0.8) if name == "patient" else LIES[name], readings)
    assert delivered.shape == readings.shape
    np.testing.assert_array_equal(delivered[:START], readings[:START])
    changed = np.nan_to_num(delivered[START:]) != np.nan_to_num(readings[START:])
    assert changed.any()


@pytest.mark.parametrize("name", [name for name in LIES if name != "fahrenheit"])
@pytest.mark.parametrize("step", [0.1, 0.5, 1 / 1.8, 1.0])
def test_a_lie_has_the_digits_of_the_source(name: str, step: float, readings: Array):
    coarse = np.round(readings / step) * step
    assert rounding_c(coarse) == step
    assert rounding_c(told(LIES[name], coarse)) >= step - 1e-9


@pytest.mark.parametrize("celsius", [1.5, -1.5, 3.0, -3.0])
def test_an_offset_is_the_same_in_every_row(celsius: float, readings: Array):
    assert _size(readings, f"offset{celsius:+g}") == pytest.approx(np.full(ROWS - START - 40, celsius))


@pytest.mark.parametrize("speed", [0.02, -0.02, 0.05, -0.05])
def test_a_ramp_grows_day_by_day(speed: float, readings: Array):
    delivered = told(LIES[f"ramp{speed:+g}"], readings)
    assert np.nanmean((delivered - readings)[START : START + 4]) == pytest.approx(0.0, abs=0.01)
    assert (delivered - readings)[START + 60 * 48] == pytest.approx(60 * speed, abs=0.051)


def test_the_patient_attacker_stays_below_the_smallest_size_that_is_accused(readings: Array):
    fine = np.round(readings, 2) + 0.01
    size = (told(patient(0.8), fine) - fine)[START:]
    assert np.nanmax(size) < 0.8
    assert np.nanmin(size[50 * 48 :]) > 0.75


def test_the_lie_about_mild_weather_leaves_cold_and_warm_hours_alone(readings: Array):
    size = (told(LIES["mild+2"], readings) - readings)[START:]
    mild = is_mild(readings)[START:]
    assert mild.any()
    assert size[mild] == pytest.approx(np.full(mild.sum(), 2.0))
    assert np.nan_to_num(size[~mild]) == pytest.approx(np.zeros((~mild).sum()))


@pytest.mark.parametrize(("name", "kept"), [("pull25%", 0.75), ("pull50%", 0.5), ("scale1.1", 1.1)])
def test_a_pull_and_a_scale_change_the_range_of_the_readings(name: str, kept: float, readings: Array):
    delivered = told(LIES[name], readings)[START:]
    assert np.nanstd(delivered) / np.nanstd(readings[START:]) == pytest.approx(kept, abs=0.01)


@pytest.mark.parametrize(("name", "rows"), [("shift1h", 2), ("shift3h", 6), ("replay", 48)])
def test_a_shift_delivers_what_was_read_earlier(name: str, rows: int, readings: Array):
    np.testing.assert_allclose(told(LIES[name], readings)[START:], readings[START - rows : ROWS - rows])


def test_a_frozen_source_repeats_its_last_known_value(readings: Array):
    assert (told(frozen, readings)[START:] == readings[START - 4]).all()


def test_noise_is_doubled(readings: Array):
    added = (told(noisier, readings) - readings)[START:]
    assert np.nanmean(added) == pytest.approx(0.0, abs=0.03)
    # 0.4 °C of noise; the running mean of seven readings takes a seventh of its variance away.
    assert np.nanstd(added) == pytest.approx(0.4, abs=0.05)
    assert not np.array_equal(told(noisier, readings, seed=2), told(noisier, readings), equal_nan=True)


def test_one_reading_in_two_hundred_is_a_spike_of_eight_degrees_either_way(readings: Array):
    size = np.round(told(spikes, readings) - readings, 6)[START:]
    struck = size[np.isfinite(size) & (size != 0)]
    assert set(struck) == {-8.0, 8.0}
    assert len(struck) / len(size) == pytest.approx(1 / 200, abs=0.002)


def test_fahrenheit_is_the_same_temperature_in_another_unit(readings: Array):
    celsius = (told(fahrenheit, readings)[START:] - 32) / 1.8
    np.testing.assert_allclose(celsius, readings[START:])


def test_readings_without_a_usual_step_are_rounded_to_hundredths():
    assert rounding_c(np.array([1.234, 5.678, np.nan])) == 0.01


def _size(readings: Array, name: str) -> Array:
    size = (told(LIES[name], readings) - readings)[START:]
    return size[np.isfinite(size)]
