from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pandas as pd
import pytest

from pipeline.ingest import Readings
from pipeline.learned_days import learned_until
from tests.unit.api.small_station import FIRST_ASKED, LAST_DAY, START

DAY = FIRST_ASKED


@pytest.mark.parametrize(
    ("hours", "last"),
    [(24, DAY), (23, DAY), (22, DAY), (21, DAY - timedelta(days=1)), (0, DAY - timedelta(days=1))],
    ids=str,
)
def test_a_day_is_learned_when_no_more_of_it_is_missing_than_forecasters_bridge(readings: Readings, hours: int, last: date):
    assert learned_until(readings, pd.Timestamp(DAY, tz="UTC") + pd.Timedelta(hours=hours)) == last


def test_what_was_trained_after_the_readings_ended_learned_all_of_them(readings: Readings):
    assert learned_until(readings, pd.Timestamp("2030-01-01", tz="UTC")) == LAST_DAY


def test_before_anything_was_known_nothing_was_learned(readings: Readings):
    assert learned_until(readings, START) == date.min


def test_the_days_are_those_of_the_utilitys_clock(readings: Readings):
    elsewhere = replace(readings, utility=replace(readings.utility, timezone="Australia/Melbourne"))

    # Midnight in Melbourne, ten hours before that of UTC.
    assert learned_until(elsewhere, pd.Timestamp(DAY, tz="Australia/Melbourne").tz_convert("UTC")) == DAY - timedelta(days=1)
