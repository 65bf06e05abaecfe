"""Names given by a person made into calendars: public holidays for `--holidays`, an IANA zone for `--timezone`."""

from __future__ import annotations

from datetime import date
from difflib import get_close_matches
from pathlib import Path
from zoneinfo import available_timezones

import holidays

from data.errors import DataError, FileRefused
from data.tables import shown, text_lines


def holidays_for(spec: str, first: date, last: date) -> frozenset[date]:
    """Holidays from `first` to `last`, both included (local dates).

    spec: `none`; COUNTRY or COUNTRY-SUBDIVISION in ISO 3166 codes (`DE`, `AU-VIC`); else a file of one ISO date a line,
    where blank lines and what follows # do not count. A file whose name is also a country is reached as `./NAME`.
    Raises DataError for an unknown country or subdivision, FileRefused for a file that breaks the contract.
    """
    if spec == "none":
        return frozenset()
    countries = holidays.list_supported_countries(include_aliases=True)
    country, dash, subdivision = spec.partition("-")
    if country in countries:
        days = _public_holidays(country, subdivision if dash else None, countries[country], range(first.year, last.year + 1))
    elif "." in spec or "/" in spec or Path(spec).is_file():
        days = _dates_in(Path(spec))
    else:
        mend = f"give COUNTRY[-SUBDIVISION], a file, or none{_suggested(country.upper(), countries)}"
        raise DataError(f"no country or file {shown(spec)}", where="holidays", mend=mend)
    return frozenset(day for day in days if first <= day <= last)


def zone_named(name: str) -> str:
    """`name` itself if it is an IANA time zone; raises DataError with the nearest names otherwise."""
    zones = available_timezones()
    if name in zones:
        return name
    by_spelling = {zone.rpartition("/")[2].lower(): zone for zone in sorted(zones)} | {z.lower(): z for z in zones}
    near = get_close_matches(name.lower(), by_spelling, n=3)
    hint = ", ".join(dict.fromkeys(by_spelling[spelling] for spelling in near))
    mend = f"did you mean {hint}?" if hint else "give a name such as Europe/Berlin"
    raise DataError(f"no time zone {shown(name)}", where="timezone", mend=mend)


def _public_holidays(country: str, subdivision: str | None, known: list[str], years: range) -> list[date]:
    if subdivision is not None and subdivision not in known:
        mend = f"give {country} alone{_suggested(subdivision.upper(), known)}"
        raise DataError(f"{country} has no subdivision {shown(subdivision)}", where="holidays", mend=mend)
    return list(holidays.country_holidays(country, subdiv=subdivision, years=years))


def _suggested(text: str, known: list[str] | dict[str, list[str]]) -> str:
    near = get_close_matches(text, known, n=3, cutoff=0.5) or (sorted(known)[:9] if len(known) < 20 else [])
    return f"; near it: {', '.join(near)}" if near else ""


def _dates_in(path: Path) -> list[date]:
    days = []
    for row, line in enumerate(text_lines(path), start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            days.append(date.fromisoformat(text))
        except ValueError:
            mend = "write one date a line, as 2014-01-27"
            raise FileRefused(f"{shown(text)} is not a date", path=str(path), row=row, mend=mend) from None
    return days
