from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sqlmodel import select

from data.schema import Utility
from pipeline.database import transaction
from pipeline.ingest import Readings
from pipeline.monitor import daily_error_percent, forecast_alarm, judge_providers, record_judgement
from pipeline.provider_standings import all_events
from pipeline.station import Station
from security.audit_log import AuditEntry
from tests.unit.pipeline.small_incident import END, LIAR, ONSET, START, UTILITY
from tests.unit.pipeline.small_incident import incident as build_incident


def test_the_liar_is_quarantined_soon_after_it_began_and_nobody_else(incident: Readings) -> None:
    events = judge_providers(incident, END)
    assert [(event.provider, event.to_state) for event in events] == [(LIAR, "suspect"), (LIAR, "quarantined")]
    assert abs(events[1].onset - ONSET) <= pd.Timedelta(days=5)
    assert ONSET < events[1].at < ONSET + pd.Timedelta(days=14)


def test_four_honest_providers_are_left_in_peace() -> None:
    assert judge_providers(build_incident(lie=False), END) == []


def test_what_is_heard_later_does_not_change_what_was_decided(incident: Readings) -> None:
    (suspicion, verdict) = judge_providers(incident, END)
    assert judge_providers(incident, verdict.at) == [suspicion, verdict]
    assert judge_providers(incident, verdict.at - UTILITY.step) == [suspicion]


def test_nobody_is_judged_before_eighteen_months_were_heard(incident: Readings) -> None:
    for until in (START - pd.Timedelta(days=1), START, START + pd.Timedelta(days=540)):
        assert judge_providers(incident, until) == []


def test_nothing_heard_is_nothing_to_judge(incident: Readings) -> None:
    assert judge_providers(replace(incident, weather=incident.weather.iloc[:0]), END) == []


def test_providers_that_only_measure_are_judged_by_their_measurements(incident: Readings) -> None:
    measured = incident.weather["issued_at"] > incident.weather["valid_at"]
    events = judge_providers(replace(incident, weather=incident.weather[measured]), END)
    assert [(event.provider, event.to_state) for event in events][-1] == (LIAR, "quarantined")


def test_a_judgement_is_entered_and_logged_once(incident: Readings, empty_station: Station) -> None:
    events = judge_providers(incident, END)
    for _ in range(2):
        record_judgement(empty_station, events)
    with transaction(empty_station.engine) as session:
        assert [event.to_state for event in all_events(session)] == ["suspect", "quarantined"]
        logged = list(session.exec(select(AuditEntry)))
    assert [(entry.action, entry.subject) for entry in logged] == [
        ("provider.suspect", LIAR),
        ("provider.quarantined", LIAR),
    ]
    assert logged[1].at == events[1].at.to_pydatetime()
    assert "drift below" in logged[1].details


def test_the_error_of_a_local_day_is_its_energys_with_a_sign() -> None:
    utility = Utility("Europe/Berlin", pd.Timedelta(hours=1))
    index = utility.day_index(pd.Timestamp("2024-03-31").date()).append(utility.day_index(pd.Timestamp("2024-04-01").date()))
    actual = pd.Series(1000.0, index=index)
    forecast = pd.DataFrame({"forecast_mw": [1100.0] * 23 + [950.0] * 24}, index=index)
    errors = daily_error_percent(actual, forecast, utility)
    assert errors.to_dict() == pytest.approx({pd.Timestamp("2024-03-31"): 10.0, pd.Timestamp("2024-04-01"): -5.0})


def test_intervals_without_a_measurement_do_not_count() -> None:
    index = UTILITY.day_index(pd.Timestamp("2024-05-01").date())
    actual = pd.Series(1000.0, index=index[:12])
    forecast = pd.DataFrame({"forecast_mw": [1100.0] * 12 + [9999.0] * 12}, index=index)
    assert daily_error_percent(actual, forecast, UTILITY).tolist() == pytest.approx([10.0])


def test_an_alarm_follows_a_lasting_shift_and_not_ordinary_days() -> None:
    days = pd.date_range("2023-01-01", periods=500, freq="D")
    learn_until = pd.Timestamp("2023-12-31")
    ordinary = pd.Series(np.random.default_rng(1).normal(0.2, 1.0, len(days)), index=days)
    sums, alarm = forecast_alarm(ordinary, learn_until)
    assert alarm is None
    assert list(sums.columns) == ["over", "under"]
    shifted = ordinary + np.where(days >= pd.Timestamp("2024-03-01"), 2.5, 0.0)
    _, alarm = forecast_alarm(shifted, learn_until)
    assert alarm is not None
    assert alarm.side == "over"
    assert pd.Timestamp("2024-03-01") <= alarm.day < pd.Timestamp("2024-04-01")
