"""The ledger: what did a source touch, from its readings to the forecasts that were served?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest
from sqlmodel import Session, select

from data.provenance import (
    ForecastRecord,
    SnapshotRecord,
    blast_radius,
    exposed_hours,
    record_forecast,
    record_model,
    record_snapshot,
    source_list,
)
from data.schema import Utility

MARCH = datetime(2014, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def snapshot(session: Session, name: str, as_of: datetime, **last_used: datetime) -> None:
    record_snapshot(session, name, as_of, {provider: moment.isoformat() for provider, moment in last_used.items()})


def forecast(
    session: Session, name: str, model: str, snapshot_id: str, made_at: datetime, sources: list[str], energy_mwh: float = 10
) -> None:
    record = ForecastRecord(
        forecast_id=name,
        model_id=model,
        snapshot_id=snapshot_id,
        day=made_at.date() + DAY,
        made_at=made_at,
        requested_by="ann",
        sources=source_list(sources),
        energy_mwh=energy_mwh,
    )
    record_forecast(session, record)


@pytest.fixture
def ledger(session: Session) -> Session:
    """`liar` lies from 1 March on; `early` was trained before, `touched` after, `without` after but not on its word."""
    snapshot(session, "early", MARCH - 9 * DAY, liar=MARCH - 10 * DAY, honest=MARCH - 10 * DAY)
    snapshot(session, "touched", MARCH + 9 * DAY, liar=MARCH + 8 * DAY, honest=MARCH + 8 * DAY)
    snapshot(session, "without", MARCH + 20 * DAY, liar=MARCH - DAY, honest=MARCH + 19 * DAY)
    for model, origin in (
        ("m-early", "early"),
        ("m-touched", "touched"),
        ("m-shelved", "touched"),
        ("m-without", "without"),
    ):
        record_model(session, model, origin)
    forecast(session, "f-before", "m-early", "early", MARCH - 2 * DAY, ["liar", "honest"], 1)
    forecast(session, "f-fed", "m-early", "early", MARCH + 2 * DAY, ["liar", "honest"], 2)
    forecast(session, "f-unfed", "m-early", "early", MARCH + 3 * DAY, ["honest"], 4)
    forecast(session, "f-trained", "m-touched", "touched", MARCH + 10 * DAY, ["honest"], 8)
    forecast(session, "f-clean", "m-without", "without", MARCH + 21 * DAY, ["honest"], 16)
    return session


def test_a_liar_touched_what_was_trained_on_or_fed_with_its_words_and_nothing_else(ledger: Session):
    radius = blast_radius(ledger, "liar", MARCH)
    assert radius.snapshots == ("touched",)
    assert radius.models == ("m-shelved", "m-touched")
    assert radius.forecasts == ("f-fed", "f-trained")
    assert radius.direct_forecasts == ("f-fed",)
    assert radius.energy_mwh == 10
    assert (radius.provider, radius.since) == ("liar", MARCH)


def test_the_hours_exposed_are_those_of_the_days_forecast_with_it(ledger: Session):
    utility = Utility("UTC", pd.Timedelta(hours=1))
    assert exposed_hours(ledger, blast_radius(ledger, "liar", MARCH), utility) == 48
    assert exposed_hours(ledger, blast_radius(ledger, "stranger", MARCH), utility) == 0


def test_a_source_that_nobody_used_touched_nothing(ledger: Session):
    radius = blast_radius(ledger, "stranger", MARCH)
    assert (radius.snapshots, radius.models, radius.forecasts, radius.energy_mwh) == ((), (), (), 0)


def test_snapshots_are_named_in_the_order_of_their_time(ledger: Session):
    assert blast_radius(ledger, "honest", MARCH - 30 * DAY).snapshots == ("early", "touched", "without")


def test_entering_a_snapshot_or_forecast_twice_changes_nothing(ledger: Session):
    snapshot(ledger, "touched", MARCH, liar=MARCH - 99 * DAY)
    forecast(ledger, "f-fed", "m-other", "early", MARCH, [], 1000)
    assert blast_radius(ledger, "liar", MARCH).energy_mwh == 10
    assert len(ledger.exec(select(SnapshotRecord)).all()) == 3
    assert len(ledger.exec(select(ForecastRecord)).all()) == 5


def test_a_record_keeps_its_moment_and_day(ledger: Session):
    ledger.expire_all()
    kept = ledger.get(ForecastRecord, "f-fed")
    assert kept is not None
    assert (kept.made_at, kept.day) == (MARCH + 2 * DAY, date(2014, 3, 4))
    assert source_list({"b", "a"}) == '["a", "b"]'
