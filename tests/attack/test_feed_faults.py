"""One of four polled feeds dies, floods, lies or changes its format in the middle of a run (AML.T0029, AML.T0010.002).

A forecast is made every day all the same, and nothing of what was refused or found to be false is trained on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.providers.open_meteo import OpenMeteo
from data.quarantine import quarantined_from
from data.snapshots import restore
from data.weather_fusion import known_at
from pipeline.database import transaction
from pipeline.ingest import Readings, load_readings, set_utility, take_demand, take_weather, with_newest_flags
from pipeline.monitor import keep_watch
from pipeline.poll import poll_providers
from pipeline.predict import DayForecast, forecast_day
from pipeline.provider_standings import all_events, exclusions_at, standings_at
from pipeline.publish import open_model
from pipeline.registry import active
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from pipeline.train import train, train_fallback, weather_known
from security.keyring import register_key, trusted_keys
from security.signing import new_signer
from tests.unit.data.weather_server import Reply, WeatherServer, floods, open_meteo, sends, serving, settings
from tests.unit.pipeline.small_incident import PROVIDERS, START, UTILITY, demand_of, order, true_temperature, weather_of

FAULTY = "boreas"
BEGIN = START + pd.Timedelta(days=410)
FAULT = BEGIN + pd.Timedelta(days=3)
DAYS = 8
ASKED_AT = timedelta(hours=7, minutes=30)
TRUTH = true_temperature()

Document = dict[str, Any]


def honest(now: datetime, number: int) -> Document:
    """What provider `number` answers: yesterday as measured, today and tomorrow as forecast."""
    midnight = pd.Timestamp(now).normalize() - pd.Timedelta(days=1)
    index = pd.date_range(midnight, periods=72, freq="h")
    random = np.random.default_rng([number, midnight.day_of_year])
    noise_c = random.normal(0, np.where(index < pd.Timestamp(now), 0.3, 0.6))
    said = TRUTH.loc[index].to_numpy() + 0.3 * number - 0.4 + noise_c
    document = open_meteo(now, past_days=1)
    document["hourly"]["temperature_2m"] = said.round(1).tolist()
    return document


def dead(_: Document) -> Reply:
    return sends("maintenance", status=503)


def flooding(_: Document) -> Reply:
    return floods()


def lying(document: Document) -> Reply:
    return changed(document, lambda said: said + 3.0)


def in_fahrenheit(document: Document) -> Reply:
    """The numbers alone: they still say °C, and in winter they are within physics."""
    return changed(document, lambda said: said * 9 / 5 + 32)


def as_text(document: Document) -> Reply:
    return changed(document, str)


def changed(document: Document, change: Callable[[float], object]) -> Reply:
    hourly = document["hourly"]
    return sends(document | {"hourly": hourly | {"temperature_2m": [change(said) for said in hourly["temperature_2m"]]}})


REFUSED = {"dies": (dead, "http_status"), "floods": (flooding, "too_large"), "turns to text": (as_text, "malformed")}
FALSE = {"lies": lying, "turns to Fahrenheit": in_fahrenheit}


@dataclass(frozen=True)
class Run:
    """A station after eight days, and the forecasts it made."""

    station: Station
    forecasts: list[DayForecast]

    @property
    def end(self) -> datetime:
        """The last morning."""
        return (BEGIN + pd.Timedelta(days=DAYS - 1) + ASKED_AT).to_pydatetime()

    def learned_from(self, readings: Readings) -> pd.DataFrame:
        """The training set of a model ordered on the last morning."""
        model = train(self.station, readings, order(pd.Timestamp(self.end)))
        with transaction(self.station.engine) as session:
            trusted = trusted_keys(session, "snapshot")
        return restore(self.station.snapshots, model.snapshot_id, trusted).training

    def states(self) -> dict[str, str]:
        """What is thought of each provider that was ever judged, at the end."""
        with transaction(self.station.engine) as session:
            return {name: standing.to_state for name, standing in standings_at(session, self.end).items()}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A station that has 410 days behind it, and its models."""
    home = tmp_path_factory.mktemp("feeds") / "built"
    weather = weather_of(TRUTH, lie=False)
    station = open_station(Settings(home=home, forecaster="linear"))
    set_utility(station, UTILITY)
    take_demand(station, demand_of(TRUTH).loc[: BEGIN + pd.Timedelta(days=DAYS)])
    take_weather(station, weather[weather["issued_at"] < BEGIN + ASKED_AT])
    train(station, load_readings(station), order(BEGIN))
    train_fallback(station, load_readings(station), order(BEGIN))
    station.engine.dispose()
    return home


@pytest.fixture
def servers() -> Iterator[dict[str, WeatherServer]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving()) for name in PROVIDERS}


def live(home: Path, servers: dict[str, WeatherServer], spoil: Callable[[Document], Reply], faulty: Sequence[str]) -> Run:
    """Every morning: poll, judge, forecast the next day."""
    station = open_station(Settings(home=home, forecaster="linear"))
    with transaction(station.engine) as session:
        ids = [active(session, role).model_id for role in ("main", "fallback")]
        keys = {
            name: register_key(
                session,
                purpose="provider",
                owner=name,
                public_key=new_signer().public_key,
                by="ann",
                reason="contract",
                at=BEGIN.to_pydatetime(),
            ).key_id
            for name in PROVIDERS
        }
    main, fallback = (open_model(station, model_id) for model_id in ids)
    chosen = settings(largest_bytes=100_000, total_seconds=2.0)
    providers = [
        OpenMeteo(52.52, 13.41, keys[name], chosen, name, servers[name].url, forecast_days=2, past_days=1)
        for name in PROVIDERS
    ]
    forecasts = []
    for day in range(DAYS):
        now = (BEGIN + pd.Timedelta(days=day) + ASKED_AT).to_pydatetime()
        for number, name in enumerate(PROVIDERS):
            document = honest(now, number)
            servers[name].says(spoil(document) if name in faulty and now >= FAULT else sends(document))
        poll_providers(station, providers, now)
        readings = load_readings(station)
        keep_watch(station, readings, pd.Timestamp(now))
        with transaction(station.engine) as session:
            refused = exclusions_at(session, now)
        forecasts.append(forecast_day(readings, main, fallback, refused, now.date() + timedelta(days=1)))
    return Run(station, forecasts)


def assert_a_forecast_every_day(run: Run) -> None:
    first = BEGIN.date() + timedelta(days=1)
    assert [made.day for made in run.forecasts] == [first + timedelta(days=number) for number in range(DAYS)]
    for made in run.forecasts:
        actual = load_readings(run.station).demand["demand_mw"].reindex(made.frame.index).dropna()
        error = (made.frame["forecast_mw"].loc[actual.index] - actual).abs() / actual
        assert error.mean() < 0.06, made.day


@pytest.mark.parametrize("fault", REFUSED)
def test_a_feed_that_is_refused_stops_no_forecast_and_leaves_no_value(
    prepared: Path, servers: dict[str, WeatherServer], tmp_path: Path, fault: str
) -> None:
    spoil, reason = REFUSED[fault]
    run = live(shutil.copytree(prepared, tmp_path / "home"), servers, spoil, [FAULTY])
    assert_a_forecast_every_day(run)
    # It is heard as long as what it had said reaches, and nobody takes its silence for a lie.
    assert [FAULTY in made.sources for made in run.forecasts] == [True] * 3 + [False] * 5
    assert all(len(made.sources) >= 3 and made.weather == "multi-source" for made in run.forecasts)
    assert "quarantined" not in run.states().values()
    said = load_readings(run.station).weather.query("provider == @FAULTY")
    assert said["issued_at"].max() < FAULT
    with transaction(run.station.engine) as session:
        assert [item.reason for item in quarantined_from(session, FAULTY)] == [reason] * 5


@pytest.mark.parametrize("fault", FALSE)
def test_a_feed_that_says_false_things_is_found_out_and_none_of_it_is_trained_on(
    prepared: Path, servers: dict[str, WeatherServer], tmp_path: Path, fault: str
) -> None:
    run = live(shutil.copytree(prepared, tmp_path / "home"), servers, FALSE[fault], [FAULTY])
    assert_a_forecast_every_day(run)
    assert {name for name, state in run.states().items() if state == "quarantined"} == {FAULTY}
    with transaction(run.station.engine) as session:
        found = next(event for event in all_events(session) if event.to_state == "quarantined")
        period = exclusions_at(session, run.end)[FAULTY]
    assert found.at <= FAULT + pd.Timedelta(days=3)
    assert FAULTY not in run.forecasts[-1].sources
    # Nothing it said since the fault, nor in the margin before, moves what is learned: a louder lie teaches the same.
    readings = load_readings(run.station)
    accused = (readings.weather["provider"] == FAULTY) & (readings.weather["valid_at"] >= period.since)
    assert accused.any()
    assert period.since < FAULT - pd.Timedelta(days=1)
    louder = readings.weather.assign(temperature_c=readings.weather["temperature_c"].mask(accused, 45.0))
    learned, untouched = run.learned_from(readings), run.learned_from(replace(readings, weather=louder))
    pd.testing.assert_frame_equal(learned, untouched)
    # With the safeguard lifted the lie would have been learned: it stands among the readings.
    index = pd.date_range(FAULT, run.end, freq="h", inclusive="left")
    believing = known_at(readings.weather, pd.Timestamp(run.end), index[0], index[-1], UTILITY.step)[FAULTY]
    assert (believing - TRUTH.loc[index]).abs().mean() > 2


def test_a_wild_value_a_day_is_flagged_and_not_trained_on(
    prepared: Path, servers: dict[str, WeatherServer], tmp_path: Path
) -> None:
    def spiking(document: Document) -> Reply:
        said = list(document["hourly"]["temperature_2m"])
        said[15] += 14.0  # yesterday afternoon's
        return sends(document | {"hourly": document["hourly"] | {"temperature_2m": said}})

    run = live(shutil.copytree(prepared, tmp_path / "home"), servers, spiking, [FAULTY])
    assert_a_forecast_every_day(run)
    readings, wild = load_readings(run.station), pd.date_range(FAULT - pd.Timedelta(hours=9), run.end, freq="D")[:-1]
    wide = weather_known(run.station, with_newest_flags(run.station, readings), pd.Timestamp(run.end))
    said = known_at(readings.weather, pd.Timestamp(run.end), wide.index[0], wide.index[-1], UTILITY.step)
    assert (said[FAULTY] - TRUTH).loc[wild].min() > 10
    assert wide.loc[wild, FAULTY].isna().all()
    assert wide.drop(index=wild).notna().to_numpy().all()


def test_when_every_feed_dies_the_weather_free_fallback_answers_and_says_so(
    prepared: Path, servers: dict[str, WeatherServer], tmp_path: Path
) -> None:
    run = live(shutil.copytree(prepared, tmp_path / "home"), servers, dead, PROVIDERS)
    assert [made.day for made in run.forecasts] == [BEGIN.date() + timedelta(days=number + 1) for number in range(DAYS)]
    assert [made.weather for made in run.forecasts] == ["multi-source"] * 3 + ["none"] * 5
    assert all(made.sources == () for made in run.forecasts[3:])
