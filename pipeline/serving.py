"""What the service and the command line ask of a station: forecasts, models, providers, revocation, retraining.

The active model is opened once and kept. A newer one takes its place only after it was verified and loaded whole; when
that fails, the last good one keeps answering (AML.T0018, AML.T0029).

What the database says is read again when a second has passed: a revocation or a promotion in another process is followed
within that second. When the database does not answer, nothing is answered that is older (AML.T0020).

    prepared   what is ready, without waiting for anything
    prepare    looks, if the last look is older than a second (serving_state); makes the day, once for all who ask
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from data.weather_fusion import Exclusion
from pipeline import registry
from pipeline.database import reading, transaction
from pipeline.errors import DayLearned, NoActiveModel
from pipeline.incidents import raise_incident
from pipeline.ingest import Readings, load_readings
from pipeline.learned_days import learned_until
from pipeline.plain_words import without_folders
from pipeline.predict import DayForecast, draw, explain, record
from pipeline.prepared_day import PreparedDay, PreparedDays
from pipeline.provider_standings import StandingEvent
from pipeline.publish import OpenedModel
from pipeline.readmit import readmit, trust_again
from pipeline.recover import Revocation, retrain_clean, revoke_provider, training_end
from pipeline.releases import follow_releases, open_released
from pipeline.serving_state import InService, ServingState, StateWatch, read_in_service, read_serving_state
from pipeline.station import Station, note
from pipeline.train import TrainingOrder
from pipeline.trial import start_trials
from pipeline.weather_policy import WeatherPolicy
from pipeline.weather_standing import ProviderView, provider_views
from security.errors import UnavailableError

Clock = Callable[[], datetime]

SERVICE, RELEASE_WATCH = "service", "release watch"

_LOG = logging.getLogger("gridward.serving")


def wall_clock() -> datetime:
    """The present moment, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Answering:
    """What answers now. in_service: what the database said when it was opened; learned: by model, until which day."""

    model: OpenedModel
    fallback: OpenedModel | None
    readings: Readings
    in_service: InService
    learned: Mapping[str, date]


@dataclass(frozen=True, eq=False)
class _Now:
    """Swapped as one: a request that began with the old model ends with the old model, and days that were made with it, or
    before a provider was revoked, are gone.
    """

    answering: _Answering
    excluded: Mapping[str, Exclusion]
    days: PreparedDays = field(default_factory=PreparedDays)


class Serving:
    """A station that answers. One lock: retraining and swapping models happen one at a time.

    clock: the station's present moment; a replay of the past gives another one than the wall clock. Raises NoActiveModel,
    ReleaseRefused, and as `open_model` does.
    """

    def __init__(self, station: Station, clock: Clock = wall_clock) -> None:
        self.station = station
        self.clock = clock
        self._lock = threading.RLock()
        self._swapping, self._following = threading.Lock(), threading.Lock()
        self._watch = StateWatch(lambda: read_serving_state(self.station, self.clock()), self._take)
        self._refused: InService | None = None
        # Started now, it gets ready on the other core while the readings are read.
        start_trials()
        self._now = _Now(self._opened(), {})

    @property
    def readings(self) -> Readings:
        """What forecasts are made from now."""
        return self._now.answering.readings

    @property
    def active_model_id(self) -> str:
        """The main model that answers now; not always the newest release, see `reload`."""
        return self._now.answering.model.model_id

    def require_unlearned(self, day: date) -> None:
        """Raise DayLearned for a local day that every model in service learned from, whichever would answer; microseconds.

        Where one did not, the day's own `PreparedDay.require_unlearned` decides.
        """
        answering = self._now.answering
        if day <= min(answering.learned.values()):
            model_id = answering.model.model_id
            raise DayLearned(str(day), model_id, str(answering.learned[model_id]))

    def forecast(self, day: date, requested_by: str, *, explained: bool = False) -> DayForecast:
        """Forecast a local day, and enter it in the ledger and the audit log: for who asks without the service.

        Raises as `prepare`.
        """
        prepared = self.prepare(day, by=requested_by)
        made = prepared.forecast
        if prepared.learned:
            record(self.station, prepared.readings.utility, [made], requested_by)
        details = {"day": str(day), "model": made.model_id, "weather": made.weather, "gate": made.gate_closure.isoformat()}
        at = self.clock()
        note(self.station, actor=requested_by, action="forecast.served", subject=made.forecast_id, details=details, at=at)
        return replace(made, explanation=explain(prepared.model, prepared.known, day)) if explained else made

    def prepared(self, day: date, days_ahead: int = 1) -> PreparedDay | None:
        """The forecast of a local day if it is ready and nothing can have changed; no waiting, microseconds."""
        return self._now.days.find((day, days_ahead)) if self._watch.holds() else None

    def prepare(self, day: date, days_ahead: int = 1, *, by: str = SERVICE) -> PreparedDay:
        """The forecast of a local day, made and entered in the ledger if it is not ready; it waits for both. What is said of
        a day that was learned from is no forecast and is not entered.

        days_ahead: 1 to 7; the day is forecast from what was known at the gate closure of the day that many less one before
        it. by: who is entered as having asked first. Raises DayNotForecastable, NoTrustedWeather, UnavailableError.
        """
        self._watch.look()
        return self._made(self._now, day, days_ahead, by)

    def prepared_together(self, first: date, days: int) -> list[PreparedDay] | None:
        """Local day `first` and the following ones, from one gate closure and by the same models; as `prepared`."""
        if not self._watch.holds():
            return None
        now = self._now
        ready = (now.days.find((first + timedelta(days=number), number + 1)) for number in range(days))
        found = [one for one in ready if one is not None]
        return found if len(found) == days else None

    def prepare_together(self, first: date, days: int, *, by: str = SERVICE) -> list[PreparedDay]:
        """The same, made and entered in the ledger as far as they are not ready; as `prepare`."""
        self._watch.look()
        now = self._now
        return [self._made(now, first + timedelta(days=number), number + 1, by) for number in range(days)]

    def models(self) -> list[registry.ModelRecord]:
        """Every published model, newest first."""
        with reading(self.station.engine) as session:
            return registry.listing(session)

    def providers(self) -> list[ProviderView]:
        """Every provider that ever delivered, with its standing and the state of its key."""
        return provider_views(self.station, self.readings, self.clock())

    def revoke(self, provider: str, *, by: str, reason: str) -> Revocation:
        """Revoke a provider, effective now. Raises PipelineError for an unknown one."""
        with self._lock:
            done = revoke_provider(self.station, self.readings, provider, by=by, reason=reason, at=self.clock())
            self._watch.look_again()
            return done

    def readmit(self, provider: str, *, by: str, reason: str) -> StandingEvent:
        """Put a provider that was cut off on probation, from now on. Raises PipelineError."""
        with self._lock:
            done = readmit(self.station, self.readings, provider, by=by, reason=reason, at=self.clock())
            self._watch.look_again()
            return done

    def trust(self, provider: str, *, by: str, reason: str) -> StandingEvent:
        """Trust a provider on probation again, from now on. Raises PipelineError."""
        with self._lock:
            done = trust_again(self.station, self.readings, provider, by=by, reason=reason, at=self.clock())
            self._watch.look_again()
            return done

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

        Raises IntegrityError or ForecastingError, after noting it in the audit log; the last good model keeps serving. A
        store that is away (UnavailableError) says nothing of the models: the release is tried again.
        """
        with self._lock:
            with reading(self.station.engine) as session:
                wanted = read_in_service(session)
            try:
                newest = self._opened()
            except UnavailableError:
                raise
            except Exception as error:
                note(
                    self.station,
                    actor=by,
                    action="model.refused",
                    subject="main",
                    details={"why": str(error), "still_serving": self.active_model_id},
                    at=self.clock(),
                )
                with transaction(self.station.engine) as session:
                    told = without_folders(self.station, str(error))
                    serving = {"still_serving": self.active_model_id}
                    raise_incident(session, "model-refused", "main", told, serving, self.clock())
                self._refused = wanted
                raise
            with self._swapping:
                self._now = _Now(newest, self._now.excluded)
            return newest.model.model_id

    def _opened(self) -> _Answering:
        """The models that the releases name, verified, tried and parsed; nothing changes until they all are."""
        released = follow_releases(self.station, self.clock())
        if "main" not in released:
            raise NoActiveModel
        with reading(self.station.engine) as session:
            in_service = read_in_service(session)
        model = open_released(self.station, released["main"])
        fallback = open_released(self.station, released["fallback"]) if "fallback" in released else None
        readings = load_readings(self.station)
        return _Answering(
            model=model,
            fallback=fallback,
            readings=readings,
            # One that was released since the releases were read is still to be followed.
            in_service=replace(in_service, main=model.model_id),
            learned={one.model_id: learned_until(readings, one.as_of) for one in (model, fallback) if one is not None},
        )

    def _made(self, now: _Now, day: date, days_ahead: int, by: str) -> PreparedDay:
        """Ready or made now. One for a later day rests on those before it, from the gate closure's own day on."""

        def make() -> PreparedDay:
            first = day - timedelta(days=days_ahead - 1)
            to_read = range(1 - now.answering.readings.utility.lead_days, days_ahead) if days_ahead > 1 else ()
            before = [self._made(now, first + timedelta(days=ahead - 1), ahead, by).forecast for ahead in to_read]
            answering, at = now.answering, now.answering.readings
            # One that was found to lie after this day's gate closure is refused for it too: what is known now counts.
            drawn = draw(at, answering.model, answering.fallback, now.excluded, day, first=first, before=before)
            until = answering.learned[drawn.model.model_id]
            made = PreparedDay(drawn.forecast, drawn.says, drawn.known, drawn.model, at, until)
            if days_ahead > 0 and not made.learned:
                record(self.station, at.utility, [drawn.forecast], by)
            return made

        return now.days.found_or((day, days_ahead), make)

    def _take(self, seen: ServingState) -> None:
        """Answer by what the database says; what another process put in service is followed beside it."""
        with self._swapping:
            if seen.excluded != self._now.excluded:
                self._now = _Now(self._now.answering, seen.excluded)
            known = (self._now.answering.in_service, self._refused)
        if seen.in_service not in known and not self._following.locked():
            threading.Thread(target=self._follow, args=(seen.in_service,), name="release watch", daemon=True).start()

    def _follow(self, in_service: InService) -> None:
        """Take what another process put in service; until then, and where that fails, the old model answers."""
        if self._following.acquire(blocking=False):
            try:
                with self._lock:
                    if self._now.answering.in_service != in_service:
                        self.reload(by=RELEASE_WATCH)
            except Exception:
                _LOG.exception("what was put in service cannot be taken")
            finally:
                self._following.release()
