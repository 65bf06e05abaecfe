"""What the service and the command line ask of a station: forecasts, models, providers, revocation, retraining.

The active model is opened once and kept. A newer one takes its place only after it was verified and loaded whole; when
that fails, the last good one keeps answering (AML.T0018, AML.T0029).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from data.schema import VALID_AT, providers_of
from pipeline import registry
from pipeline.database import transaction
from pipeline.errors import NoActiveModel
from pipeline.ingest import Readings, load_readings
from pipeline.predict import DayForecast, forecast_day, record
from pipeline.provider_standings import StandingEvent, exclusions_at, standings_at
from pipeline.publish import OpenedModel
from pipeline.readmit import readmit, trust_again
from pipeline.recover import Revocation, retrain_clean, revoke_provider, training_end
from pipeline.releases import follow_releases, open_released
from pipeline.station import Station, note
from pipeline.train import TrainingOrder
from pipeline.trial import start_trials
from pipeline.weather_policy import WeatherPolicy
from security.keyring import key_state

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """The present moment, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class ProviderView:
    """A provider as the station sees it now."""

    name: str
    state: str
    key: str
    onset: datetime | None
    reason: str
    last_heard: datetime


@dataclass(frozen=True)
class _Answering:
    """What answers now. Swapped as one: a request that began with the old model ends with the old model."""

    model: OpenedModel
    fallback: OpenedModel | None
    readings: Readings


class Serving:
    """A station that answers. One lock: retraining and swapping models happen one at a time.

    clock: the station's present moment; a replay of the past gives another one than the wall clock. Raises NoActiveModel,
    ReleaseRefused, and as `open_model` does.
    """

    def __init__(self, station: Station, clock: Clock = wall_clock) -> None:
        self.station = station
        self.clock = clock
        self._lock = threading.RLock()
        # Started now, it gets ready on the other core while the readings are read.
        start_trials()
        self._answering = self._opened()

    @property
    def readings(self) -> Readings:
        """What forecasts are made from now."""
        return self._answering.readings

    @property
    def active_model_id(self) -> str:
        """The main model that answers now; not always the newest release, see `reload`."""
        return self._answering.model.model_id

    def forecast(self, day: date, requested_by: str, *, explained: bool = False) -> DayForecast:
        """Forecast a local day and enter it in the ledger and the audit log. Raises DayNotForecastable."""
        now = self._answering
        gate = now.readings.utility.gate_closure_of(day)
        with transaction(self.station.engine) as session:
            refused = exclusions_at(session, self.clock())
        # One that was found to lie after this day's gate closure is refused for it too: what is known now counts.
        forecast = forecast_day(now.readings, now.model, now.fallback, refused, day, explained=explained)
        record(self.station, now.readings.utility, [forecast], requested_by)
        note(
            self.station,
            actor=requested_by,
            action="forecast.served",
            subject=forecast.forecast_id,
            details={"day": str(day), "model": forecast.model_id, "weather": forecast.weather, "gate": gate.isoformat()},
            at=self.clock(),
        )
        return forecast

    def models(self) -> list[registry.ModelRecord]:
        """Every published model, newest first."""
        with transaction(self.station.engine) as session:
            return registry.listing(session)

    def providers(self) -> list[ProviderView]:
        """Every provider that ever delivered, with its standing and the state of its key."""
        heard = self.readings.weather.groupby("provider", observed=True)[VALID_AT].max()
        with transaction(self.station.engine) as session:
            standings = standings_at(session, self.clock())
            return [
                ProviderView(
                    name=name,
                    state=standings[name].to_state if name in standings else "trusted",
                    key=key_state(session, "provider", name),
                    onset=standings[name].onset if name in standings and standings[name].to_state != "trusted" else None,
                    reason=standings[name].reason if name in standings else "",
                    last_heard=heard[name].to_pydatetime(),
                )
                for name in providers_of(self.readings.weather)
            ]

    def revoke(self, provider: str, *, by: str, reason: str) -> Revocation:
        """Revoke a provider, effective now. Raises PipelineError for an unknown one."""
        with self._lock:
            return revoke_provider(self.station, self.readings, provider, by=by, reason=reason, at=self.clock())

    def readmit(self, provider: str, *, by: str, reason: str) -> StandingEvent:
        """Put a provider that was cut off on probation, from now on. Raises PipelineError."""
        with self._lock:
            return readmit(self.station, self.readings, provider, by=by, reason=reason, at=self.clock())

    def trust(self, provider: str, *, by: str, reason: str) -> StandingEvent:
        """Trust a provider on probation again, from now on. Raises PipelineError."""
        with self._lock:
            return trust_again(self.station, self.readings, provider, by=by, reason=reason, at=self.clock())

    def retrain(self, *, by: str, policy: WeatherPolicy, as_of_day: date | None = None) -> registry.ModelRecord:
        """Train from the last clean backup and what came later, then serve the new model.

        as_of_day: nothing known after this local day's gate closure is used; default: everything known now.
        """
        with self._lock:
            at = self.clock()
            order = TrainingOrder(policy=policy, as_of=training_end(self.readings, at, as_of_day), at=at, by=by)
            trained, _ = retrain_clean(self.station, self.readings, order)
            self.reload(by=by)
            return trained

    def reload(self, *, by: str) -> str:
        """Verify and load what the releases put in service, and what was taken in since; answers the main model's id.

        Raises IntegrityError or ForecastingError, after noting it in the audit log; the last good model keeps serving.
        """
        with self._lock:
            try:
                newest = self._opened()
            except Exception as error:
                note(
                    self.station,
                    actor=by,
                    action="model.refused",
                    subject="main",
                    details={"why": str(error), "still_serving": self.active_model_id},
                    at=self.clock(),
                )
                raise
            self._answering = newest
            return newest.model.model_id

    def _opened(self) -> _Answering:
        """The models that the releases name, verified, tried and parsed; nothing changes until they all are."""
        released = follow_releases(self.station, self.clock())
        if "main" not in released:
            raise NoActiveModel
        fallback = released.get("fallback")
        return _Answering(
            model=open_released(self.station, released["main"]),
            fallback=None if fallback is None else open_released(self.station, fallback),
            readings=load_readings(self.station),
        )
