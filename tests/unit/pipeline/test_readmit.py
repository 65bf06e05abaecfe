"""The way back: through probation, with a new key where the old one was revoked, and never for what was said before."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest
from sqlmodel import select

from data.snapshots import restore
from data.weather_fusion import Exclusion
from pipeline.database import transaction
from pipeline.errors import PipelineError, StandingKept
from pipeline.ingest import Readings
from pipeline.monitor import keep_watch
from pipeline.provider_standings import SAFETY_MARGIN, StandingEvent, exclusions_at, record_decision, standings_at
from pipeline.readmit import PROBATION_DAYS, readmit, trust_again
from pipeline.recover import revoke_provider
from pipeline.station import Station
from pipeline.train import train
from security.audit_log import AuditEntry
from security.keyring import register_key, trusted_keys
from security.signing import new_signer
from tests.unit.pipeline.small_incident import END, LIAR, ONSET, PROVIDERS, START, UTILITY, order
from tests.unit.pipeline.small_incident import incident as build_incident

LIE_C = 3.0
LIED_FROM, LIED_UNTIL = START + pd.Timedelta(days=500), START + pd.Timedelta(days=515)
BACK = START + pd.Timedelta(days=520)
AGAIN = BACK + pd.Timedelta(days=PROBATION_DAYS + 1)

Act = Callable[..., StandingEvent]


def lied(until: pd.Timestamp) -> Readings:
    """A station's readings with a provider three degrees too warm from LIED_FROM on."""
    honest = build_incident(lie=False)
    weather = honest.weather
    lying = (weather["provider"] == LIAR) & (weather["valid_at"] >= LIED_FROM) & (weather["valid_at"] < until)
    return replace(honest, weather=weather.assign(temperature_c=weather["temperature_c"] + LIE_C * lying))


@pytest.fixture(scope="module")
def mended() -> Readings:
    """It lies for a fortnight."""
    return lied(LIED_UNTIL)


def do(act: Act, station: Station, readings: Readings, at: pd.Timestamp, provider: str = LIAR) -> StandingEvent:
    return act(station, readings, provider, by="olga", reason="its sensor was changed", at=at.to_pydatetime())


def give_key(station: Station) -> None:
    with transaction(station.engine) as session:
        register_key(
            session,
            purpose="provider",
            owner=LIAR,
            public_key=new_signer().public_key,
            by="ann",
            reason="contract",
            at=START.to_pydatetime(),
        )


def state_at(station: Station, at: pd.Timestamp) -> str:
    with transaction(station.engine) as session:
        return standings_at(session, at.to_pydatetime())[LIAR].to_state


def test_a_quarantined_provider_comes_back_through_probation(empty_station: Station, mended: Readings) -> None:
    keep_watch(empty_station, mended, BACK)
    assert state_at(empty_station, BACK) == "quarantined"
    event = do(readmit, empty_station, mended, BACK)
    assert (event.from_state, event.to_state, event.by) == ("quarantined", "probation", "olga")
    with transaction(empty_station.engine) as session:
        # Not heard yet, and the time of the lie still known.
        assert exclusions_at(session, BACK.to_pydatetime())[LIAR].until is None
    event = do(trust_again, empty_station, mended, AGAIN)
    assert (event.from_state, event.to_state) == ("probation", "trusted")
    assert "heard on 15 days of probation" in event.reason
    # Judged on, it stays.
    assert keep_watch(empty_station, mended, END) == []
    assert state_at(empty_station, END) == "trusted"


def test_what_it_said_while_it_lied_is_never_trained_on(empty_station: Station, mended: Readings) -> None:
    keep_watch(empty_station, mended, BACK)
    do(readmit, empty_station, mended, BACK)
    do(trust_again, empty_station, mended, AGAIN)
    station = replace(empty_station, forecaster="linear")
    trained = train(station, mended, order(END))
    with transaction(empty_station.engine) as session:
        period = exclusions_at(session, END.to_pydatetime())[LIAR]
        trusted = trusted_keys(session, "snapshot")
    assert period.since < LIED_FROM - SAFETY_MARGIN + pd.Timedelta(days=5)
    assert period == Exclusion(period.since, AGAIN)
    frozen = restore(empty_station.snapshots, trained.snapshot_id, trusted)
    alone = mended.weather["provider"] == LIAR
    told = replace(mended, weather=mended.weather.assign(temperature_c=mended.weather["temperature_c"].mask(alone, 50.0)))
    assert trained.snapshot_id != train(station, told, order(END)).snapshot_id  # it counts again
    only_then = alone & (mended.weather["valid_at"] >= period.since) & (mended.weather["valid_at"] < AGAIN)
    louder = mended.weather.assign(temperature_c=mended.weather["temperature_c"].mask(only_then, 50.0))
    again = train(station, replace(mended, weather=louder), order(END))
    with transaction(empty_station.engine) as session:
        relearned = restore(empty_station.snapshots, again.snapshot_id, trusted_keys(session, "snapshot"))
    pd.testing.assert_frame_equal(relearned.training, frozen.training)


def test_a_revoked_provider_needs_a_new_key_first(empty_station: Station, mended: Readings) -> None:
    give_key(empty_station)
    revoke_provider(empty_station, mended, LIAR, by="olga", reason="compromised", at=BACK.to_pydatetime())
    with pytest.raises(StandingKept, match="register a new key"):
        do(readmit, empty_station, mended, BACK)
    assert state_at(empty_station, BACK) == "revoked"
    give_key(empty_station)
    assert do(readmit, empty_station, mended, BACK + timedelta(hours=1)).from_state == "revoked"


def test_a_provider_that_still_lies_is_not_trusted_again(empty_station: Station) -> None:
    lying = lied(END)
    keep_watch(empty_station, lying, BACK)
    do(readmit, empty_station, lying, BACK)
    with pytest.raises(StandingKept, match="evidence against it"):
        do(trust_again, empty_station, lying, AGAIN)
    assert state_at(empty_station, END) == "probation"


@pytest.mark.parametrize("days", [1, PROBATION_DAYS - 1])
def test_probation_lasts_a_fortnight(empty_station: Station, mended: Readings, days: int) -> None:
    keep_watch(empty_station, mended, BACK)
    do(readmit, empty_station, mended, BACK)
    with pytest.raises(StandingKept, match=f"heard on {days} days since"):
        do(trust_again, empty_station, mended, BACK + timedelta(days=days))


def test_who_keeps_silent_on_probation_has_shown_nothing(empty_station: Station, mended: Readings) -> None:
    keep_watch(empty_station, mended, BACK)
    do(readmit, empty_station, mended, BACK)
    silent = mended.weather[(mended.weather["provider"] != LIAR) | (mended.weather["issued_at"] < BACK + timedelta(days=3))]
    with pytest.raises(StandingKept, match="heard on 4 days"):
        do(trust_again, empty_station, replace(mended, weather=silent), END)


@pytest.mark.parametrize("state", ["trusted", "suspect", "probation"])
def test_only_who_was_cut_off_is_readmitted(empty_station: Station, mended: Readings, state: str) -> None:
    if state != "trusted":
        with transaction(empty_station.engine) as session:
            at = BACK.to_pydatetime()
            record_decision(session, provider=LIAR, to_state=state, at=at, onset=at, by="olga", reason="")  # type: ignore[arg-type]
    with pytest.raises(StandingKept, match=f"{LIAR}, {state}: it was not cut off"):
        do(readmit, empty_station, mended, AGAIN)


@pytest.mark.parametrize("state", ["trusted", "quarantined", "revoked"])
def test_only_who_is_on_probation_is_trusted_again(empty_station: Station, mended: Readings, state: str) -> None:
    if state != "trusted":
        with transaction(empty_station.engine) as session:
            at = BACK.to_pydatetime()
            record_decision(session, provider=LIAR, to_state=state, at=at, onset=at, by="olga", reason="")  # type: ignore[arg-type]
    with pytest.raises(StandingKept, match=f"{LIAR}, {state}: it is not on probation"):
        do(trust_again, empty_station, mended, AGAIN)


@pytest.mark.parametrize("act", [readmit, trust_again])
def test_a_name_nobody_delivers_under_is_refused_with_the_known_ones(
    empty_station: Station, mended: Readings, act: Act
) -> None:
    with pytest.raises(PipelineError, match=", ".join(PROVIDERS)):
        do(act, empty_station, mended, BACK, provider="zephyr")


def test_each_step_stands_in_the_audit_log_with_its_reason_and_onset(empty_station: Station, mended: Readings) -> None:
    keep_watch(empty_station, mended, BACK)
    do(readmit, empty_station, mended, BACK)
    do(trust_again, empty_station, mended, AGAIN)
    with transaction(empty_station.engine) as session:
        logged = [entry for entry in session.exec(select(AuditEntry)) if entry.subject == LIAR]
    assert [entry.action.removeprefix("provider.") for entry in logged][-3:] == ["quarantined", "probation", "trusted"]
    details = [json.loads(entry.details) for entry in logged[-3:]]
    assert [entry.actor for entry in logged[-2:]] == ["olga", "olga"]
    assert details[1]["onset"] == details[0]["onset"]
    assert details[1]["reason"] == "its sensor was changed"
    assert [entry["from"] for entry in details[1:]] == ["quarantined", "probation"]


def test_a_station_goes_on_as_before_where_nobody_is_readmitted(empty_station: Station, incident: Readings) -> None:
    keep_watch(empty_station, incident, END)
    with transaction(empty_station.engine) as session:
        (period,) = exclusions_at(session, END.to_pydatetime()).values()
    assert period.until is None
    assert abs(period.since + SAFETY_MARGIN - ONSET) < 5 * 24 * UTILITY.step
