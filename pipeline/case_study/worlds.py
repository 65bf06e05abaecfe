"""Three worlds from one seed, as stations of their own.

clean        every provider is held against the others, only the fused weather is used, and nobody lies: the yardstick
defended     the same until the compromise; then one provider lies, and is found out
undefended   the utility as it was: that provider alone is trusted, until the utility finds out and recovers
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import SecretStr

from data.datasets import EmbeddedDataset, load_victoria
from data.lake.tables import RECEIVED_AT
from data.meters import FINAL, PROMPT
from data.schema import Utility
from data.simulation import Delivery, deliver, simulate_meter_readings, simulate_providers, simulate_reports
from data.weather_providers import UnverifiedReport, VerifiedReport, to_frame
from forecasting.drift import DriftAlarm
from pipeline import registry
from pipeline.case_study.exchange import Exchange
from pipeline.case_study.service_act import respond
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.ingest import Readings, load_readings, set_utility, take_reports
from pipeline.initial import register_providers
from pipeline.meter_intake import take_meter_readings
from pipeline.monitor import daily_error_percent, forecast_alarm, keep_watch
from pipeline.operate import Operation, known_demand, operate
from pipeline.predict import DayForecast, forecast_day
from pipeline.publish import open_model
from pipeline.redteam.weather_poisoning import Poisoning, poison
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from pipeline.train import TrainingOrder, train_fallback
from pipeline.weather_policy import WeatherPolicy
from security.signing import Signer

FIRST_DAY = date(2013, 1, 1)
LAST_DAY = date(2014, 12, 30)
DETECTOR_LEARNS_UNTIL = pd.Timestamp(2013, 12, 31)
INVESTIGATION = timedelta(days=7)
LEARNED_DAYS = 92
# The fastest member that uses weather, and the one that leans on it most: two years pass here in a minute.
FORECASTER: Literal["linear"] = "linear"
TRUSTED_PROVIDER = "aurora"
SINGLE = WeatherPolicy(TRUSTED_PROVIDER)
MULTI = WeatherPolicy()


@dataclass(frozen=True)
class Scene:
    """Where the worlds stand, from which seed, under which attack."""

    out: Path
    seed: int
    attack: Poisoning

    def home(self, world: str) -> Path:
        """The station folder of a world."""
        return self.out / "worlds" / world

    @property
    def compromise(self) -> datetime:
        """The first altered moment (UTC)."""
        return datetime.combine(self.attack.start, time(), UTC)


@dataclass(frozen=True)
class Response:
    """How the undefended utility recovered. Dates are local; exchanges: requests over HTTP, and commands;
    learned: what the poisoned models say of the last weeks when they are told the honest weather.
    """

    suspicion: date
    response: date
    alarm: DriftAlarm
    exchanges: list[Exchange]
    learned: list[DayForecast]


def utility_of(dataset: EmbeddedDataset) -> Utility:
    """The utility as its meters see it: demand is known half an hour after its interval ends."""
    return replace(dataset.utility, demand_delay=PROMPT)


def live_shared_past(scene: Scene) -> Operation:
    """The clean world until the day before the compromise; the defended one is the same until then."""
    station = _new_station(scene, "clean")
    take_reports(
        station, [report for report in _feed(station, scene, poisoned=False) if report.received_at < scene.compromise]
    )
    operation = _live_multi_source(station, scene, FIRST_DAY, scene.attack.start - timedelta(days=1))
    station.engine.dispose()
    return operation


def fork(scene: Scene) -> None:
    """Begin the defended world as a copy of the clean one."""
    shutil.copytree(scene.home("clean"), scene.home("defended"))


def live_on(scene: Scene, world: str) -> Operation:
    """The rest of the clean or of the defended world: the same safeguards, honest or poisoned deliveries."""
    station = open_station(
        Settings(home=scene.home(world), forecaster=FORECASTER, lake_url="", database_url=SecretStr(""), audit_witness=None)
    )
    feed = _feed(station, scene, poisoned=world != "clean")
    take_reports(station, [report for report in feed if report.received_at >= scene.compromise])
    return _live_multi_source(station, scene, scene.attack.start, LAST_DAY)


def _live_multi_source(station: Station, scene: Scene, first: date, last: date) -> Operation:
    readings = load_readings(station)
    keep_watch(station, readings, readings.utility.gate_closure_of(last))
    trained = None if first == FIRST_DAY else _active(station)
    return operate(station, readings, MULTI, (first, last), seed=scene.seed, trained=trained)


def live_undefended(scene: Scene) -> tuple[Operation, Response]:
    """The attacked world that trusts one provider: it errs, suspects, investigates, revokes, recovers."""
    station = _new_station(scene, "undefended")
    take_reports(station, _feed(station, scene, poisoned=True))
    readings = load_readings(station)
    detector = _Detector(known_demand(readings), readings.utility)
    before = operate(station, readings, SINGLE, (FIRST_DAY, LAST_DAY), seed=scene.seed, stop=detector.investigated)
    if detector.suspicion is None or detector.alarm is None:
        raise PipelineError("the detector stayed silent to the end", where="undefended world", mend="strengthen the attack")
    first_clean_day = before.forecasts[-1].day + timedelta(days=1)
    moment = readings.utility.gate_closure_of(first_clean_day)
    order = TrainingOrder(policy=SINGLE, as_of=moment, at=moment.to_pydatetime(), by="monthly schedule", seed=scene.seed)
    train_fallback(station, readings, order)
    exchanges = respond(station, TRUSTED_PROVIDER, scene.compromise, first_clean_day, moment.to_pydatetime())
    after = operate(station, readings, MULTI, (first_clean_day, LAST_DAY), seed=scene.seed, trained=_active(station))
    learned = _with_honest_weather(station, scene, readings, before)
    response = Response(detector.suspicion, before.forecasts[-1].day, detector.alarm, exchanges, learned)
    return Operation(before.forecasts + after.forecasts), response


def _with_honest_weather(station: Station, scene: Scene, readings: Readings, before: Operation) -> list[DayForecast]:
    """The poisoned models' last weeks again, told the truth: what they still get wrong is what they have learned."""
    honest = to_frame(
        [VerifiedReport(content.provider, "", received_at, "", content) for received_at, content in deliveries(scene)]
    )
    told = replace(readings, weather=honest[honest["provider"] == TRUSTED_PROVIDER])
    weeks = before.forecasts[-LEARNED_DAYS:]
    models = {model_id: open_model(station, model_id) for model_id in {made.model_id for made in weeks}}
    return [forecast_day(told, models[made.model_id], None, {}, made.day) for made in weeks]


class _Detector:
    """Forecast against actual, looked at every morning; after an alarm the investigation takes its time."""

    def __init__(self, actual_mw: pd.Series, utility: Utility) -> None:
        self._actual_mw, self._utility = actual_mw, utility
        self._days: list[pd.Timestamp] = []
        self._errors: list[float] = []
        self.suspicion: date | None = None
        self.alarm: DriftAlarm | None = None

    def investigated(self, operation: Operation, day: date) -> bool:
        """True on the morning before `day` when an investigation begun by an alarm has come to its end."""
        today = day - timedelta(days=1)
        for made in operation.forecasts[len(self._days) :]:
            if made.day < today:
                error = daily_error_percent(self._actual_mw.loc[made.frame.index], made.frame, self._utility)
                self._days.append(pd.Timestamp(made.day))
                self._errors.append(float(error.iloc[0]) if len(error) else float("nan"))
        if self.alarm is None and pd.Timestamp(today) > DETECTOR_LEARNS_UNTIL + timedelta(days=2):
            errors = pd.Series(self._errors, index=pd.DatetimeIndex(self._days))
            self.alarm = forecast_alarm(errors, DETECTOR_LEARNS_UNTIL)[1]
            self.suspicion = None if self.alarm is None else today
        return self.suspicion is not None and today >= self.suspicion + INVESTIGATION


def _new_station(scene: Scene, world: str) -> Station:
    dataset = load_victoria()
    utility = utility_of(dataset)
    station = open_station(
        Settings(home=scene.home(world), forecaster=FORECASTER, lake_url="", database_url=SecretStr(""), audit_witness=None)
    )
    _signers(station, scene)
    set_utility(station, utility)
    readings = simulate_meter_readings(dataset, scene.seed)
    take_meter_readings(station, readings, utility, complete_until=readings[RECEIVED_AT].max() + FINAL)
    return station


def deliveries(scene: Scene) -> list[Delivery]:
    """Every report the providers would have sent, had nobody lied."""
    dataset = load_victoria()
    return simulate_reports(dataset.temperature_c, dataset.utility, simulate_providers(scene.seed), scene.seed)


def _feed(station: Station, scene: Scene, *, poisoned: bool) -> list[UnverifiedReport]:
    content = deliveries(scene)
    return deliver(poison(content, scene.attack) if poisoned else content, _signers(station, scene))


def _signers(station: Station, scene: Scene) -> dict[str, Signer]:
    return register_providers(station, scene.out / "providers", datetime(2012, 1, 1, tzinfo=UTC))


def _active(station: Station) -> registry.ModelRecord:
    with transaction(station.engine) as session:
        return registry.active(session)
