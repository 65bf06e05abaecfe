"""Add readings of one's own to a station that works: new ones as they are, corrections as known from now on.

What is there already is left out, so that a file that grows can be given again. Nothing is edited: what a reading said
before it was corrected stays, for whoever asks what was known then (AML.T0020: nobody rewrites the past).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from data.errors import DataError
from data.lake.reading import read
from data.lake.tables import WEATHER
from data.schema import AVAILABLE_AT, DEMAND_MW, ISSUED_AT, PROVIDER, TEMPERATURE_C, TIMESTAMP, VALID_AT
from pipeline.ingest import demand_kept, load_utility, newest_pin, take_demand, take_weather
from pipeline.station import Station, note


@dataclass(frozen=True)
class Sorted:
    """Rows of a batch beside what is held. new: of a place that nothing is held of; corrected: that say otherwise than the
    last word there; known: how many say the same.
    """

    new: pd.DataFrame
    corrected: pd.DataFrame
    known: int


@dataclass(frozen=True)
class Added:
    """How many readings were new, how many corrected earlier ones, how many were there already."""

    new: int
    corrections: int
    known: int


def add_readings(station: Station, demand: pd.DataFrame, weather: pd.DataFrame, at: datetime, by: str) -> Added:
    """Add frames of data.schema, as empty as they may be, at `at` (UTC); weather may say `payload_sha256`, where it is from.

    Raises ContractBroken, DataError for a forecast that says another thing than when it was issued, UnavailableError for a
    station without readings, and what the lake raises. Readings of demand go in first, then those of the weather.
    """
    moment, step = pd.Timestamp(at).as_unit("us"), load_utility(station).step
    told = demand.rename_axis(TIMESTAMP).reset_index().dropna(subset=[DEMAND_MW])
    by_interval = sorted_out(told, demand_kept(station, told), [TIMESTAMP], DEMAND_MW, AVAILABLE_AT)
    measured, held = weather[ISSUED_AT] >= weather[VALID_AT] + step, _held_weather(station, weather)
    held_measured = held[held[ISSUED_AT] >= held[VALID_AT] + step]
    by_measurement = sorted_out(weather[measured], held_measured, [PROVIDER, VALID_AT], TEMPERATURE_C, ISSUED_AT)
    by_issue = sorted_out(weather[~measured], held, [PROVIDER, VALID_AT, ISSUED_AT], TEMPERATURE_C, ISSUED_AT)
    if len(by_issue.corrected):
        first = by_issue.corrected.iloc[0]
        problem = (
            f"the forecast of {first[VALID_AT]} issued at {first[ISSUED_AT]} says another thing than when it was issued"
        )
        raise DataError(problem, where=f"provider {first[PROVIDER]}", mend="give a changed forecast its own time of issue")
    take_demand(station, _dated(by_interval, AVAILABLE_AT, moment).set_index(TIMESTAMP))
    take_weather(station, pd.concat([_dated(by_measurement, ISSUED_AT, moment), by_issue.new]))
    parts = (by_interval, by_measurement, by_issue)
    added = Added(
        new=sum(len(part.new) for part in parts),
        corrections=sum(len(part.corrected) for part in parts),
        known=sum(part.known for part in parts),
    )
    note(station, actor=by, action="readings.added", subject="lake", details=vars(added), at=at)
    return added


def sorted_out(rows: pd.DataFrame, held: pd.DataFrame, place: list[str], value: str, known_at: str) -> Sorted:
    """Rows told apart by what is held of their place; held: in the order it became known. A correction is never known before
    what it corrects.
    """
    last = held.drop_duplicates(place, keep="last")
    where = pd.MultiIndex.from_frame(last[place]).get_indexer(pd.MultiIndex.from_frame(rows[place]))
    new = where < 0
    beside = last.iloc[where[~new]]
    other = rows[value].to_numpy()[~new] != beside[value].to_numpy()
    corrected = rows[~new][other]
    earliest = (beside[known_at][other] + pd.Timedelta(microseconds=1)).set_axis(corrected.index)
    later = corrected[known_at].where(corrected[known_at] >= earliest, earliest)
    return Sorted(rows[new], corrected.assign(**{known_at: later}), int((~other).sum()))


def _dated(found: Sorted, known_at: str, moment: pd.Timestamp) -> pd.DataFrame:
    """What to add: a correction became known now, whatever it is of."""
    corrected = found.corrected.assign(**{known_at: lambda rows: rows[known_at].where(rows[known_at] >= moment, moment)})
    return pd.concat([found.new, corrected])


def _held_weather(station: Station, rows: pd.DataFrame) -> pd.DataFrame:
    since = rows[VALID_AT].min() if len(rows) else None
    columns = [ISSUED_AT, VALID_AT, TEMPERATURE_C]
    return read(station.lake, WEATHER, newest_pin(station, WEATHER), columns, since=since)
