"""A small snapshot with three providers, made without a station."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, TEMPERATURE_C, Utility
from data.snapshots import Snapshot
from pipeline.weather_policy import WeatherPolicy, draw_contract, temperature_by

PROVIDERS = ("aurora", "boreas", "cirrus")


def small_snapshot(utility: Utility, frame: pd.DataFrame, policy: str = "multi-source", providers: int = 3) -> Snapshot:
    """A snapshot of `frame`, each provider 0.3 °C of chance from its temperature."""
    random = np.random.default_rng(5)
    said = {name: frame[TEMPERATURE_C] + random.normal(0, 0.3, len(frame)) for name in PROVIDERS[:providers]}
    readings = pd.DataFrame(said, index=frame.index)
    contract = draw_contract(readings, utility, WeatherPolicy.parse(policy), {})
    told, _ = temperature_by(contract, readings, utility)
    training = pd.DataFrame({DEMAND_MW: frame[DEMAND_MW], TEMPERATURE_C: told[TEMPERATURE_C]})
    return Snapshot("small", training, readings, {"as_of": "2014-09-01T00:00:00+00:00", "weather": contract.to_json()})
