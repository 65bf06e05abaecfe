"""Files of one's own, as the options of `backtest` and `train` name them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from data.files import read_demand, read_weather
from data.holidays_calendar import holidays_for, zone_named
from data.schema import ISSUED_AT, PROVIDER, TEMPERATURE_C, VALID_AT, Utility

DemandOption = Annotated[
    Path | None, typer.Option("--demand", help="Demand, CSV or Parquet; default: the embedded Victoria data.")
]
WeatherOption = Annotated[
    list[str] | None, typer.Option("--weather", metavar="NAME=FILE", help="A weather provider's file; repeatable.")
]
TimezoneOption = Annotated[str | None, typer.Option("--timezone", help="IANA zone of the utility; needed with --demand.")]
HolidaysOption = Annotated[
    str, typer.Option("--holidays", help="COUNTRY[-SUBDIVISION], a file of ISO dates, or none; with --demand.")
]
GateClosureOption = Annotated[
    str, typer.Option("--gate-closure", metavar="HH:MM", help="Local time on the day before; with --demand.")
]

_NO_WEATHER = pd.DataFrame(columns=[PROVIDER, ISSUED_AT, VALID_AT, TEMPERATURE_C])
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, eq=False)
class OwnFiles:
    """Readings of one's own. demand, weather: frames of data.schema; notes: what the reader of the result should know;
    digests: SHA-256 of each provider's file.
    """

    utility: Utility
    demand: pd.DataFrame
    weather: pd.DataFrame
    perfect_foresight: tuple[str, ...]
    notes: tuple[str, ...]
    digests: Mapping[str, str]


def read_own_files(demand: Path, weather: Sequence[str], timezone: str | None, holidays: str, gate_closure: str) -> OwnFiles:
    """Read them whole, or not at all. Raises FileRefused and DataError; BadParameter for options that cannot be."""
    if timezone is None:
        raise typer.BadParameter("--demand needs --timezone, the utility's IANA zone")
    zone, gate = zone_named(timezone), _clock(gate_closure)
    named = named_files(weather)
    demand_file = read_demand(demand)
    weather_files = {name: read_weather(path, name) for name, path in named.items()}
    local = pd.DatetimeIndex(demand_file.frame.index).tz_convert(zone)
    # The day after the last reading can be forecast too.
    days_off = holidays_for(holidays, local[0].date(), local[-1].date() + timedelta(days=2))
    foresight = tuple(name for name, file in weather_files.items() if file.perfect_foresight)
    ignored = {str(demand): demand_file.ignored_columns}
    ignored |= {str(named[name]): file.ignored_columns for name, file in weather_files.items()}
    notes = [f"{path}: columns not read: {', '.join(columns)}" for path, columns in ignored.items() if columns]
    frames = pd.concat([file.frame for file in weather_files.values()]) if weather_files else _NO_WEATHER
    return OwnFiles(
        utility=Utility(timezone=zone, step=demand_file.step, gate_closure=gate, holidays=days_off),
        demand=demand_file.frame,
        weather=frames.sort_values([PROVIDER, VALID_AT, ISSUED_AT], ignore_index=True),
        perfect_foresight=foresight,
        notes=tuple(notes),
        digests={name: digest_of(path) for name, path in named.items()},
    )


def digest_of(path: Path) -> str:
    """SHA-256 of a file, by which its readings are traced to it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def refuse_stray_options(weather: Sequence[str], timezone: str | None) -> None:
    """Options that describe one's own files mean nothing without --demand. Raises BadParameter."""
    if weather or timezone:
        raise typer.BadParameter("--weather and --timezone describe files of one's own: give --demand too")


def _clock(text: str) -> time:
    try:
        return time.fromisoformat(text if re.fullmatch(r"\d\d:\d\d", text) else "")
    except ValueError:
        raise typer.BadParameter(f"--gate-closure {text!r} is no time of day: write it as 09:00") from None


def named_files(weather: Sequence[str]) -> dict[str, Path]:
    """The files of `NAME=FILE` options by name. Raises BadParameter for anything else, and for a name given twice."""
    named: dict[str, Path] = {}
    for item in weather:
        name, equals, path = item.partition("=")
        if not equals or not path or not _NAME.fullmatch(name):
            raise typer.BadParameter(f"--weather {item!r}: write NAME=FILE, the name in letters, digits, '.', '_', '-'")
        if name in named:
            raise typer.BadParameter(f"--weather names {name!r} twice: put one provider's rows in one file")
        named[name] = Path(path)
    return named
