"""The incident in small: twenty-two months of hourly demand, four providers, one of whom begins to lie near the end.

The liar measures and announces too cold in the hours that are mild, more so every week, so that a model that trusts it
alone orders too much. Nothing is signed here: the frames are what `ingest` would have kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from data.schema import Utility, is_mild
from pipeline.ingest import Readings, set_utility, take_demand, take_weather
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from pipeline.train import TrainingOrder
from pipeline.weather_policy import WeatherPolicy

PROVIDERS = ("aurora", "boreas", "cirrus", "delphi")
LIAR = "aurora"
DAYS = 660
START = pd.Timestamp("2023-01-01", tz="UTC")
ONSET = START + pd.Timedelta(days=575)
BEFORE = START + pd.Timedelta(days=555)
AMID = START + pd.Timedelta(days=600)
FOUND_OUT = START + pd.Timedelta(days=630)
END = START + pd.Timedelta(days=DAYS)
UTILITY = Utility(timezone="UTC", step=pd.Timedelta(hours=1))
LIE_C = 5.0
RAMP = pd.Timedelta(days=21)


def true_temperature(seed: int = 1) -> pd.Series:
    """Hourly, swinging through the year around 15 °C."""
    random = np.random.default_rng(seed)
    index = pd.date_range(START, END, freq="h", inclusive="left", name="timestamp", unit="us")
    hour, day = index.hour.to_numpy(), np.arange(len(index)) / 24
    spells = np.convolve(random.normal(0, 2, DAYS + 4), np.ones(5) / np.sqrt(5), mode="valid")
    swing = 8 * np.sin(2 * np.pi * (day - 100) / 365) + 4 * np.sin(2 * np.pi * (hour - 9) / 24)
    return pd.Series(16 + swing + np.repeat(spells, 24), index=index)


def demand_of(temperature_c: pd.Series, seed: int = 1) -> pd.DataFrame:
    """Heating below 18 °C, cooling above 22 °C, a daily and a weekly rhythm."""
    random = np.random.default_rng([seed, 1])
    index = pd.DatetimeIndex(temperature_c.index)
    weather = 20 * np.maximum(18 - temperature_c, 0) + 25 * np.maximum(temperature_c - 22, 0)
    rhythm = 100 * np.sin(2 * np.pi * (index.hour.to_numpy() - 6) / 24) - 80 * (index.day_of_week.to_numpy() > 4)
    demand_mw = 1000 + weather.to_numpy() + rhythm + random.normal(0, 8, len(index))
    return pd.DataFrame({"demand_mw": demand_mw, "available_at": index + UTILITY.step}, index=index)


def weather_of(temperature_c: pd.Series, *, lie: bool, seed: int = 1) -> pd.DataFrame:
    """What each provider measured (known an hour later) and announced (at 08:00 the day before)."""
    random = np.random.default_rng([seed, 2])
    index = pd.DatetimeIndex(temperature_c.index)
    share = np.clip((index - ONSET) / RAMP, 0, 1).to_numpy()
    frames = []
    for number, name in enumerate(PROVIDERS):
        bias = 0.3 * number - 0.4
        offset = -LIE_C * share * is_mild(temperature_c).to_numpy() if lie and name == LIAR else 0.0
        kinds = {"measured": (index + UTILITY.step, 0.3), "announced": (index.normalize() - pd.Timedelta(hours=16), 0.6)}
        for issued_at, noise_c in kinds.values():
            said = temperature_c.to_numpy() + bias + random.normal(0, noise_c, len(index)) + offset
            frames.append(
                pd.DataFrame({"provider": name, "issued_at": issued_at, "valid_at": index, "temperature_c": said.round(1)})
            )
    return pd.concat(frames).sort_values(["provider", "valid_at", "issued_at"], ignore_index=True)


def incident(*, lie: bool = True) -> Readings:
    """Everything the station would have taken in."""
    temperature_c = true_temperature()
    return Readings(UTILITY, demand_of(temperature_c), weather_of(temperature_c, lie=lie))


def station_at(home: Path, readings: Readings | None = None) -> Station:
    """A station at `home`, with these readings in it when given."""
    station = open_station(Settings(home=home))
    if readings is not None:
        set_utility(station, readings.utility)
        take_demand(station, readings.demand)
        take_weather(station, readings.weather)
    return station


def order(as_of: pd.Timestamp, policy: str = "multi-source", seed: int = 1) -> TrainingOrder:
    """Train on what was known at `as_of`, ordered then."""
    return TrainingOrder(WeatherPolicy.parse(policy), as_of, as_of.to_pydatetime(), by="test", seed=seed)
