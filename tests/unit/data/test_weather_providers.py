"""The wire format of reports: what goes in comes out, and everything else is refused with its place."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from data.errors import ReportRefused
from data.schema import ISSUED_AT, PROVIDER, TEMPERATURE_C, VALID_AT
from data.weather_providers import ReportContent, VerifiedReport, decode, encode, to_frame

ISSUED = datetime(2014, 3, 1, 21, tzinfo=UTC)
CONTENT = ReportContent(
    format=1,
    provider="aurora",
    issued_at=ISSUED,
    step_minutes=30,
    observed_from=ISSUED - timedelta(hours=1),
    observed_c=[14.2, None],
    forecast_from=ISSUED,
    forecast_c=[13.5, -2.0, None],
)
EXAMPLE = (
    b'{"format":1,"provider":"aurora","issued_at":"2014-03-01T21:00:00Z","step_minutes":30,'
    b'"observed_from":"2014-03-01T20:00:00Z","observed_c":[14.2,null],'
    b'"forecast_from":"2014-03-01T21:00:00Z","forecast_c":[13.5,-2.0,null]}'
)


def with_field(name: str, value: object) -> bytes:
    return json.dumps({**json.loads(EXAMPLE), name: value}).encode()


def verified(content: ReportContent, received_at: datetime | None = None) -> VerifiedReport:
    return VerifiedReport(content.provider, "key", received_at or content.issued_at + timedelta(minutes=9), "d", content)


def test_a_report_is_the_documented_bytes_and_comes_back_from_them():
    assert encode(CONTENT) == EXAMPLE
    assert decode(EXAMPLE, "aurora") == CONTENT


def test_times_with_any_offset_are_the_same_moment():
    melbourne = timezone(timedelta(hours=11))
    elsewhere = decode(with_field("issued_at", ISSUED.astimezone(melbourne).isoformat()), "aurora")
    assert elsewhere.issued_at == ISSUED
    assert encode(elsewhere) == EXAMPLE


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("format", 2, "format"),
        ("provider", "", "provider"),
        ("provider", "a" * 65, "provider"),
        ("issued_at", "2014-03-01T21:00:00", "issued_at"),
        ("issued_at", "yesterday", "issued_at"),
        ("observed_from", "0001-01-01T00:00:00Z", "observed_from"),
        ("forecast_from", "2100-01-01T00:00:00Z", "forecast_from"),
        ("step_minutes", 0, "step_minutes"),
        ("step_minutes", 61, "step_minutes"),
        ("step_minutes", "30", "step_minutes"),
        ("observed_c", [60.1], "observed_c.0"),
        ("observed_c", [1.0, -90.1], "observed_c.1"),
        ("observed_c", ["14.2"], "observed_c.0"),
        ("observed_c", [float("nan")], "observed_c.0"),
        ("forecast_c", [float("inf")], "forecast_c.0"),
        ("forecast_c", [1.0] * 4033, "forecast_c"),
        ("note", "hello", "note"),
    ],
)
def test_what_breaks_the_format_is_refused_and_the_place_named(name: str, value: object, place: str):
    with pytest.raises(ReportRefused) as refusal:
        decode(with_field(name, value), "aurora")
    assert refusal.value.reason == "invalid"
    assert refusal.value.provider == "aurora"
    assert refusal.value.problem.startswith(f"{place}: ")


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", EXAMPLE[:-1], b"[" * 10_000])
def test_bytes_that_are_no_report_are_refused(payload: bytes):
    with pytest.raises(ReportRefused) as refusal:
        decode(payload, "aurora")
    assert refusal.value.reason == "invalid"


def test_a_frame_holds_every_value_at_its_time_known_when_it_was_received():
    received = ISSUED + timedelta(minutes=17)
    frame = to_frame([verified(CONTENT, received)])
    assert frame[TEMPERATURE_C].tolist() == [14.2, 13.5, -2.0]
    expected = [ISSUED + timedelta(minutes=minutes) for minutes in (-60, 0, 30)]
    assert frame[VALID_AT].tolist() == [pd.Timestamp(moment) for moment in expected]
    assert frame[ISSUED_AT].unique().tolist() == [pd.Timestamp(received)]
    assert frame[PROVIDER].unique().tolist() == ["aurora"]


def test_a_frame_is_sorted_whatever_the_order_of_delivery():
    later = CONTENT.model_copy(update={"issued_at": ISSUED + timedelta(minutes=30)})
    other = CONTENT.model_copy(update={"provider": "boreas"})
    reports = [verified(other), verified(later), verified(CONTENT)]
    frame = to_frame(reports)
    order = frame.sort_values([PROVIDER, VALID_AT, ISSUED_AT], ignore_index=True)
    pd.testing.assert_frame_equal(frame, order)
    pd.testing.assert_frame_equal(frame, to_frame(reports[::-1]))
    assert len(frame) == 9


def test_no_reports_make_an_empty_frame_of_the_same_shape():
    empty = to_frame([])
    full = to_frame([verified(CONTENT)])
    assert empty.columns.equals(full.columns)
    assert (empty.dtypes == full.dtypes).all()
    assert len(to_frame([verified(CONTENT.model_copy(update={"observed_c": [], "forecast_c": []}))])) == 0


def test_the_longest_reports_keep_their_exact_times():
    content = CONTENT.model_copy(update={"observed_c": [], "forecast_c": [float(i) for i in range(4000)]})
    frame = to_frame([verified(content)])
    assert frame[VALID_AT].iloc[-1] == pd.Timestamp(ISSUED) + 3999 * pd.Timedelta(minutes=30)
    assert np.array_equal(frame[TEMPERATURE_C].to_numpy(), np.arange(4000.0))
