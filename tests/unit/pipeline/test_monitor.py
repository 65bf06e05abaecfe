from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sqlmodel import select

from data.schema import Utility
from data.trust.standing import TrustEvent, TrustState
from pipeline.database import transaction
from pipeline.ingest import Readings
from pipeline.monitor import daily_error_percent, forecast_alarm, judge_providers, keep_watch
from pipeline.provider_standings import all_events, record_decision
from pipeline.station import Station
from security.audit_log import AuditEntry
from tests.unit.pipeline.small_incident import END, LIAR, ONSET, START, UTILITY
from tests.unit.pipeline.small_incident import incident as build_incident


def test_the_liar_is_quarantined_within_days_and_nobody_else(incident: Readings) -> None:
    events = judge_providers(incident, END)
    assert [(event.provider, event.to_state) for event in events] == [(LIAR, "suspect"), (LIAR, "quarantined")]
    assert abs(events[1].onset - ONSET) <= pd.Timedelta(days=5)
    # It begins with nothing and grows by a quarter of a degree a day.
    assert ONSET < events[1].at < ONSET + pd.Timedelta(days=10)
    assert events[1].level == 3
    assert events[1].reason.startswith("measured: reads too cold in mild weather")


def test_four_honest_providers_are_left_in_peace() -> None:
    assert [event for event in judge_providers(build_incident(lie=False), END) if event.to_state == "quarantined"] == []


def test_what_is_heard_later_does_not_change_what_was_decided(incident: Readings) -> None:
    (suspicion, verdict) = judge_providers(incident, END)
    assert judge_providers(incident, verdict.at) == [suspicion, verdict]
    assert judge_providers(incident, verdict.at - UTILITY.step) == [suspicion]


def test_nobody_is_judged_before_a_year_was_heard(incident: Readings) -> None:
    liar = incident.weather["provider"] == LIAR
    always = incident.weather.assign(temperature_c=incident.weather["temperature_c"].mask(liar, incident.weather.index % 7))
    for until in (START - pd.Timedelta(days=1), START, START + pd.Timedelta(days=365)):
        assert judge_providers(replace(incident, weather=always), until) == []


def test_nothing_heard_is_nothing_to_judge(incident: Readings) -> None:
    assert judge_providers(replace(incident, weather=incident.weather.iloc[:0]), END) == []


def measured_only(readings: Readings) -> pd.DataFrame:
    return readings.weather[readings.weather["issued_at"] > readings.weather["valid_at"]]


def test_providers_that_only_measure_are_judged_by_their_measurements(incident: Readings) -> None:
    events = judge_providers(replace(incident, weather=measured_only(incident)), END)
    assert (events[-1].provider, events[-1].to_state) == (LIAR, "quarantined")


def test_forecasts_alone_give_a_liar_away(incident: Readings) -> None:
    honest = build_incident(lie=False)
    weather = pd.concat([measured_only(honest), incident.weather.drop(measured_only(incident).index)])
    weather = weather.sort_values(["provider", "valid_at", "issued_at"], ignore_index=True)
    quarantined = [e for e in judge_providers(replace(incident, weather=weather), END) if e.to_state == "quarantined"]
    assert [event.provider for event in quarantined] == [LIAR]
    assert quarantined[0].reason.startswith("forecast: ")


def test_demand_tells_which_of_two_lies_and_is_heard_only_as_far_as_it_was_known(incident: Readings) -> None:
    two = incident.weather[incident.weather["provider"].isin([LIAR, "boreas"])]
    liar = (two["provider"] == LIAR) & (two["valid_at"] >= ONSET)
    readings = replace(incident, weather=two.assign(temperature_c=two["temperature_c"] + 4.0 * liar))
    quarantined = [e for e in judge_providers(readings, END) if e.to_state == "quarantined"]
    assert [(event.provider, event.level) for event in quarantined] == [(LIAR, 4)]
    # The same demand, known a year later: nobody can tell who of the two it is.
    late = incident.demand.assign(available_at=incident.demand["available_at"] + pd.Timedelta(days=1000))
    found = judge_providers(replace(readings, demand=late), END)
    assert [event for event in found if event.to_state == "quarantined"] == []


def decided(to_state: TrustState, at: pd.Timestamp) -> TrustEvent:
    return TrustEvent(LIAR, at, "trusted", to_state, 0, "looked into it", at, 0.0)


def test_who_was_readmitted_is_judged_anew_from_then_on() -> None:
    """It lies for three weeks, is cut off, comes back honest, and lies again."""
    honest = build_incident(lie=False)
    liar = honest.weather["provider"] == LIAR
    valid = honest.weather["valid_at"]
    first, second = (START + pd.Timedelta(days=days) for days in (440, 560))
    lying = liar & (((valid >= first) & (valid < first + pd.Timedelta(days=21))) | (valid >= second))
    readings = replace(honest, weather=honest.weather.assign(temperature_c=honest.weather["temperature_c"] + 3.0 * lying))
    back = first + pd.Timedelta(days=25)
    acts = [decided("probation", back), decided("trusted", back + pd.Timedelta(days=20))]

    def quarantines(acts: list[TrustEvent]) -> list[pd.Timestamp]:
        found = [event for event in judge_providers(readings, END, acts) if event.to_state == "quarantined"]
        assert {event.provider for event in found} == {LIAR}
        return [event.at for event in found]

    # Nobody readmits it: it is cut off once, and what it says does not count.
    (once,) = quarantines([])
    assert first < once <= first + pd.Timedelta(days=4)
    # On probation it is not heard, and cannot be cut off.
    assert quarantines(acts[:1]) == [once]
    again = quarantines(acts)
    assert again[0] == once
    assert second < again[1] <= second + pd.Timedelta(days=4)
    assert len(again) == 2


def test_a_revoked_provider_is_not_accused_any_more(incident: Readings) -> None:
    assert judge_providers(incident, END, [decided("revoked", ONSET)]) == []


def test_a_judgement_is_entered_and_logged_once_with_its_evidence(incident: Readings, empty_station: Station) -> None:
    events = judge_providers(incident, END)
    assert [event.to_state for event in keep_watch(empty_station, incident, END)] == ["suspect", "quarantined"]
    assert keep_watch(empty_station, incident, END) == []
    with transaction(empty_station.engine) as session:
        assert [event.to_state for event in all_events(session)] == ["suspect", "quarantined"]
        logged = list(session.exec(select(AuditEntry)))
    assert [(entry.action, entry.subject, entry.actor) for entry in logged] == [
        ("provider.suspect", LIAR, "weather watch"),
        ("provider.quarantined", LIAR, "weather watch"),
    ]
    assert logged[1].at == events[1].at.to_pydatetime()
    assert json.loads(logged[1].details) == {
        "from": "suspect",
        "level": 3,
        "statistic": events[1].statistic,
        "reason": events[1].reason,
        "onset": events[1].onset.isoformat(),
    }


def test_the_watch_goes_on_from_what_an_operator_decided(incident: Readings, empty_station: Station) -> None:
    with transaction(empty_station.engine) as session:
        record_decision(
            session,
            provider=LIAR,
            to_state="revoked",
            at=ONSET.to_pydatetime(),
            onset=ONSET.to_pydatetime(),
            by="olga",
            reason="a call from its office",
        )
    assert keep_watch(empty_station, incident, END) == []


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
