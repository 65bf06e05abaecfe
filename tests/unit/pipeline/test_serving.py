"""A station that answers: with the last good model, at its own clock's moment, to many at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest
from sqlmodel import select

from data.errors import NoTrustedWeather
from data.provenance import ForecastRecord
from pipeline import registry
from pipeline.database import transaction
from pipeline.errors import NoActiveModel, PipelineError
from pipeline.ingest import Readings, set_utility, take_demand, take_weather
from pipeline.publish import OpenedModel
from pipeline.serving import Serving, wall_clock
from pipeline.station import Station
from pipeline.weather_policy import WeatherPolicy
from security.audit_check import verify_log
from security.audit_heads import read_heads
from security.audit_log import AuditEntry
from security.errors import ContentChanged, UnavailableError
from security.keyring import register_key, trusted_keys
from security.signing import new_signer
from tests.unit.api.small_station import LAST_DAY, PROVIDERS, UTILITY
from tests.unit.pipeline.republish import in_service_again, no_release
from tests.unit.pipeline.small_incident import LIAR, ONSET

MULTI = WeatherPolicy()
NOW = datetime(2023, 6, 2, tzinfo=UTC)  # the day after the fixture's models were published


def at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


@pytest.fixture
def serving(station: Station) -> Serving:
    return Serving(station, at(NOW))


def logged(station: Station, action: str) -> list[AuditEntry]:
    with transaction(station.engine) as session:
        return [entry for entry in session.exec(select(AuditEntry)) if entry.action == action]


def publish_another(station: Station, models: dict[str, OpenedModel]) -> str:
    """The same forecaster under other facts, released."""
    return in_service_again(station, models["main"], "s-2")


def test_a_forecast_is_entered_in_the_ledger_and_the_log(serving: Serving, station: Station) -> None:
    made = serving.forecast(LAST_DAY, "ann")
    with transaction(station.engine) as session:
        (entry,) = session.exec(select(ForecastRecord))
    assert (entry.forecast_id, entry.requested_by) == (made.forecast_id, "ann")
    (note,) = logged(station, "forecast.served")
    assert (note.actor, note.subject, note.at) == ("ann", made.forecast_id, NOW)


def test_a_station_with_no_readings_or_no_model_does_not_serve(empty_station: Station, readings: Readings) -> None:
    with pytest.raises(UnavailableError, match="gridward train"):
        Serving(empty_station)
    set_utility(empty_station, readings.utility)
    take_demand(empty_station, readings.demand)
    take_weather(empty_station, readings.weather)
    with pytest.raises(NoActiveModel):
        Serving(empty_station)
    assert not readings.demand.empty


def test_a_tampered_model_is_refused_at_the_start(station: Station, models: dict[str, OpenedModel]) -> None:
    (station.models / models["main"].model_id / "model.json.sealed").write_text("{}")
    with pytest.raises(ContentChanged, match=r"model\.json"):
        Serving(station)


def test_a_reload_takes_the_newest_release(serving: Serving, station: Station, models: dict[str, OpenedModel]) -> None:
    newest = publish_another(station, models)
    assert serving.active_model_id == models["main"].model_id
    assert serving.reload(by="olga") == newest
    assert serving.active_model_id == newest
    assert serving.forecast(LAST_DAY, "ann").model_id == newest


def test_a_reload_that_fails_is_logged_and_the_last_good_model_keeps_answering(
    serving: Serving, station: Station, models: dict[str, OpenedModel]
) -> None:
    good = serving.forecast(LAST_DAY, "ann")
    path = station.models / publish_another(station, models) / "model.json.sealed"
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(ContentChanged, match=r"model\.json"):
        serving.reload(by="olga")
    (refusal,) = logged(station, "model.refused")
    assert refusal.actor == "olga"
    assert models["main"].model_id in refusal.details
    still = serving.forecast(LAST_DAY, "ann")
    assert still.model_id == models["main"].model_id
    pd.testing.assert_frame_equal(still.frame, good.frame, check_exact=True)
    path.write_bytes(content)
    assert serving.reload(by="olga") != models["main"].model_id


def test_a_fallback_that_is_missing_is_not_fatal_but_no_help_either(serving: Serving, station: Station) -> None:
    for provider in PROVIDERS:
        serving.revoke(provider, by="olga", reason="drill")
    assert serving.forecast(LAST_DAY, "ann").weather == "none"
    no_release(station, "fallback")
    with pytest.raises(NoTrustedWeather):
        Serving(station, at(NOW)).forecast(LAST_DAY, "ann")


def test_retraining_swaps_the_model_and_the_registry_with_it(serving: Serving, station: Station) -> None:
    before = serving.active_model_id
    trained = serving.retrain(by="olga", policy=WeatherPolicy("cirrus"))
    assert serving.active_model_id == trained.model_id != before
    with transaction(station.engine) as session:
        assert registry.active(session).model_id == trained.model_id
    assert serving.forecast(LAST_DAY, "ann").sources == ("cirrus",)
    assert serving.models()[0].model_id == trained.model_id


def test_going_back_to_a_former_policy_is_a_new_publication(station: Station) -> None:
    moments = iter(NOW + timedelta(minutes=number) for number in range(100))
    serving = Serving(station, lambda: next(moments))
    policies = (WeatherPolicy("cirrus"), MULTI, WeatherPolicy("cirrus"))
    trained = [serving.retrain(by="olga", policy=policy).model_id for policy in policies]
    assert len(set(trained)) == 3
    assert serving.active_model_id == trained[-1]


def test_retraining_uses_what_is_known_now_or_at_the_day_that_was_named(station: Station) -> None:
    end = UTILITY.day_index(LAST_DAY)[-1] + UTILITY.step
    day = LAST_DAY - timedelta(days=20)
    now = Serving(station, at(NOW))
    assert pd.Timestamp(now.retrain(by="olga", policy=MULTI).as_of) == end
    assert pd.Timestamp(now.retrain(by="olga", policy=MULTI, as_of_day=day).as_of) == UTILITY.gate_closure_of(day)
    future = now.retrain(by="olga", policy=WeatherPolicy("cirrus"), as_of_day=date(2030, 1, 1))
    assert pd.Timestamp(future.as_of) == end


def test_the_stations_clock_is_the_present_in_a_replay(station: Station) -> None:
    past = datetime(2023, 4, 20, 9, tzinfo=UTC)
    replay = Serving(station, at(past))
    trained = replay.retrain(by="olga", policy=MULTI, as_of_day=LAST_DAY)
    assert trained.as_of == past == trained.published_at
    done = replay.revoke("boreas", by="olga", reason="drill")
    assert done.at == past
    # Who was refused on 20 April was not on the 19th.
    day = date(2023, 4, 21)
    assert replay.forecast(day, "ann").sources == ("aurora", "cirrus")
    assert Serving(station, at(past - timedelta(seconds=1))).forecast(day, "ann").sources == PROVIDERS


def test_without_a_clock_it_is_now() -> None:
    assert abs(wall_clock() - datetime.now(UTC)) < timedelta(minutes=1)
    assert wall_clock().tzinfo is UTC


def test_a_provider_that_is_found_to_lie_is_refused_for_days_whose_gate_had_closed_before(serving: Serving) -> None:
    before = serving.forecast(LAST_DAY, "ann")
    serving.revoke("boreas", by="olga", reason="drill")
    after = serving.forecast(LAST_DAY, "ann")
    assert (before.sources, after.sources) == (PROVIDERS, ("aurora", "cirrus"))
    assert before.forecast_id != after.forecast_id


def test_providers_are_shown_as_they_stand(station: Station) -> None:
    with transaction(station.engine) as session:
        register_key(
            session,
            purpose="provider",
            owner="boreas",
            public_key=new_signer().public_key,
            by="ann",
            reason="contract",
            at=NOW,
        )
    serving = Serving(station, at(NOW))
    assert {view.name: (view.state, view.key) for view in serving.providers()} == {
        "aurora": ("trusted", "unknown"),
        "boreas": ("trusted", "active"),
        "cirrus": ("trusted", "unknown"),
    }
    serving.revoke("boreas", by="olga", reason="compromised")
    boreas = serving.providers()[1]
    assert (boreas.state, boreas.key, boreas.reason, boreas.onset) == ("revoked", "revoked", "compromised", NOW)
    assert boreas.last_heard.tzinfo is not None
    with pytest.raises(PipelineError, match="no provider 'zephyr'"):
        serving.revoke("zephyr", by="olga", reason="typo")


def test_the_whole_recovery_through_the_service(incident_station: Station) -> None:
    found_out = ONSET + pd.Timedelta(days=55)
    serving = Serving(incident_station, at(found_out.to_pydatetime()))
    day = found_out.date()
    poisoned = serving.forecast(day, "ann")
    assert poisoned.sources == (LIAR,)
    done = serving.revoke(LIAR, by="olga", reason="compromised")
    assert poisoned.forecast_id in done.touched.forecasts
    with pytest.raises(NoTrustedWeather):
        serving.forecast(day, "ann")
    trained = serving.retrain(by="olga", policy=MULTI, as_of_day=day)
    recovered = serving.forecast(day, "ann")
    assert recovered.model_id == trained.model_id
    assert LIAR not in recovered.sources
    assert poisoned.model_id in {entry.model_id for entry in serving.models() if entry.state == registry.REVOKED}


def test_many_may_ask_while_a_model_is_trained(station: Station) -> None:
    serving = Serving(station)
    days = [LAST_DAY - timedelta(days=number) for number in range(4)]
    failures: list[Exception] = []
    answered: list[str] = []
    trained: list[str] = []

    def guarded(act: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                act()
            except Exception as error:
                failures.append(error)

        return run

    def ask() -> None:
        for number in range(16):
            answered.append(serving.forecast(days[number % 4], threading.current_thread().name).model_id)

    def retrain() -> None:
        trained.extend(serving.retrain(by="olga", policy=policy).model_id for policy in (WeatherPolicy("cirrus"), MULTI))

    before = serving.active_model_id
    threads = [threading.Thread(target=guarded(act)) for act in (ask, ask, retrain)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert len(answered) == 32
    assert set(answered) <= {before, *trained}
    assert serving.active_model_id == trained[-1]
    with transaction(station.engine) as session:
        heads = read_heads(station.audit_heads, trusted_keys(session, "audit"))
        entries = verify_log(session, heads)
        served = session.exec(select(ForecastRecord)).all()
    assert entries == heads[-1].seq
    assert len(logged(station, "forecast.served")) == 32
    assert len({entry.forecast_id for entry in served}) == len(served) <= 12
