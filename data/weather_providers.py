"""What a weather provider sends: one signed report a delivery, with what it measured and what it expects.

The wire format (version 1) is canonical JSON:

    {"format": 1, "provider": "aurora", "issued_at": "2014-03-01T21:00:00Z", "step_minutes": 30,
     "observed_from": "...", "observed_c": [14.2, null, ...], "forecast_from": "...", "forecast_c": [...]}

Times mark the start of intervals. A report's signature proves which key sent these bytes. It does not prove that they are
true: the compromised provider of 2014 signed every lie with its own, valid key (AML.T0010.002).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from data.errors import ReportRefused
from data.lake.tables import KEY_ID, PAYLOAD_SHA256
from data.schema import ISSUED_AT, PROVIDER, TEMPERATURE_C, VALID_AT

Celsius = Annotated[float, Field(ge=-90.0, le=60.0)]
Moment = Annotated[AwareDatetime, Field(ge=datetime(1980, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC))]


class ReportContent(BaseModel):
    """The parsed content of a report. Temperatures [°C]; None where the provider has no value."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1]
    provider: str = Field(min_length=1, max_length=64)
    issued_at: Moment
    step_minutes: int = Field(ge=5, le=60)
    observed_from: Moment
    observed_c: list[Celsius | None] = Field(max_length=4032)
    forecast_from: Moment
    forecast_c: list[Celsius | None] = Field(max_length=4032)


@dataclass(frozen=True)
class UnverifiedReport:
    """A delivery as it came in. Nothing in it is believed yet."""

    provider: str
    key_id: str
    received_at: datetime
    payload: bytes
    signature: bytes


@dataclass(frozen=True)
class VerifiedReport:
    """A report that a provider's active key signed, new, on time and within physics. Not yet compared with others."""

    provider: str
    key_id: str
    received_at: datetime
    digest: str
    content: ReportContent


def encode(content: ReportContent) -> bytes:
    """Canonical bytes of a report, the ones that are signed."""
    return json.dumps(
        {
            "format": content.format,
            "provider": content.provider,
            "issued_at": _iso(content.issued_at),
            "step_minutes": content.step_minutes,
            "observed_from": _iso(content.observed_from),
            "observed_c": content.observed_c,
            "forecast_from": _iso(content.forecast_from),
            "forecast_c": content.forecast_c,
        },
        separators=(",", ":"),
    ).encode()


def decode(payload: bytes, provider: str) -> ReportContent:
    """Parse a report whose signature was verified. Raises ReportRefused (`invalid`) on anything but the format above."""
    try:
        return ReportContent.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "payload"
        raise ReportRefused(
            f"{place}: {first['msg']}",
            provider=provider,
            reason="invalid",
            mend="ask the provider for format 1, °C, −90 to 60, times with offset",
        ) from error


def to_frame(reports: list[VerifiedReport]) -> pd.DataFrame:
    """The values of many reports as a weather frame (data.schema), sorted by provider, valid_at, issued_at.

    `issued_at` is the moment of receipt: what a provider wrote earlier but delivered later was not known earlier.
    """
    return to_rows(reports)[[PROVIDER, ISSUED_AT, VALID_AT, TEMPERATURE_C]]


def to_rows(reports: list[VerifiedReport]) -> pd.DataFrame:
    """The same, and where each value is from: `key_id`, and `payload_sha256` of the report it stood in."""
    parts = [(report, *part) for report in reports for part in _parts(report)]
    if not parts:
        return pd.DataFrame(
            {
                PROVIDER: pd.Series(dtype="str"),
                ISSUED_AT: pd.Series(dtype="datetime64[us, UTC]"),
                VALID_AT: pd.Series(dtype="datetime64[us, UTC]"),
                TEMPERATURE_C: pd.Series(dtype=np.float64),
                KEY_ID: pd.Series(dtype="str"),
                PAYLOAD_SHA256: pd.Series(dtype="str"),
            }
        )
    lengths = [len(values) for *_, values in parts]
    valid = np.concatenate([start + step * np.arange(len(values)) for _, _, start, step, values in parts])

    def repeated(words: list[str]) -> pd.Series:
        return pd.Series(np.repeat(np.array(words, dtype=object), lengths), dtype="str")

    frame = pd.DataFrame(
        {
            PROVIDER: repeated([report.provider for report, *_ in parts]),
            ISSUED_AT: pd.DatetimeIndex(np.repeat([issued for _, issued, *_ in parts], lengths)).tz_localize("UTC"),
            VALID_AT: pd.DatetimeIndex(valid.astype("datetime64[us]")).tz_localize("UTC"),
            TEMPERATURE_C: np.concatenate([values for *_, values in parts]),
            KEY_ID: repeated([report.key_id for report, *_ in parts]),
            PAYLOAD_SHA256: repeated([report.digest for report, *_ in parts]),
        }
    )
    frame = frame.dropna(subset=[TEMPERATURE_C])
    return frame.sort_values([PROVIDER, VALID_AT, ISSUED_AT], ignore_index=True)


def _parts(
    report: VerifiedReport,
) -> list[tuple[np.datetime64, np.datetime64, np.timedelta64, np.ndarray[tuple[int], np.dtype[np.float64]]]]:
    content = report.content
    step = np.timedelta64(content.step_minutes, "m")
    issued = _numpy_utc(report.received_at)
    return [
        (issued, _numpy_utc(start), step, np.array(values, dtype=np.float64))
        for start, values in ((content.observed_from, content.observed_c), (content.forecast_from, content.forecast_c))
        if values
    ]


def _numpy_utc(moment: datetime) -> np.datetime64:
    return pd.Timestamp(moment).tz_convert("UTC").tz_localize(None).as_unit("us").to_datetime64()


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
