"""Take meter readings in: the raw ones are kept as they came, and the demand they sum up to, in all its versions.

meter readings → lake: meter_readings → repaired and summed (`data.meters`) → lake: demand
"""

from __future__ import annotations

import pandas as pd

from data.lake.reading import read
from data.lake.tables import DEMAND, METER_READINGS, RECEIVED_AT, SOURCE
from data.meters import FINAL, MeteredDemand, aggregate, due_demand
from data.schema import TIMESTAMP, Utility
from pipeline.ingest import keep_rows, newest_pin
from pipeline.station import Station

METERS = "meters"
# What is normal for a meter is learned from eight weeks; one more for readings that come late.
METER_WINDOW = pd.Timedelta(days=63)


def take_meter_readings(
    station: Station, readings: pd.DataFrame, utility: Utility, complete_until: pd.Timestamp | None = None
) -> MeteredDemand:
    """Keep raw meter readings, repair and sum them with those of the nine weeks before, and keep the demand.

    readings: as `data.meters.aggregate`, in any order, late ones too. complete_until (UTC): everything received by then is
    in this batch or an earlier one; by default the last moment of receipt in it. What is known only later waits for a later
    batch. Raises DataError.
    """
    until = readings[RECEIVED_AT].max() if complete_until is None else complete_until
    held = read(station.lake, DEMAND, newest_pin(station, DEMAND))
    pin = keep_rows(station, METER_READINGS, readings.assign(**{SOURCE: METERS}))
    # From where demand is not final yet; from the very first reading where there is none.
    first = min(readings[TIMESTAMP].min(), held[TIMESTAMP].max() - FINAL - utility.step) if len(held) else None
    window = read(station.lake, METER_READINGS, pin, since=None if first is None else first - METER_WINDOW)
    if first is not None:
        window = window[window[TIMESTAMP] >= first - METER_WINDOW]
    metered = aggregate(window, utility)
    keep_rows(station, DEMAND, due_demand(metered.demand.loc[first:], held, utility, until).assign(**{SOURCE: METERS}))
    return metered
