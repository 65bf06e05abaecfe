"""Errors of the pipeline room."""

from __future__ import annotations

from security.errors import GridwardError, IntegrityError, RateLimited, UnavailableError


class PipelineError(GridwardError):
    """A stage cannot do what it was asked with what it was given."""

    exit_code = 2


class NoActiveModel(UnavailableError):
    """Nothing was published yet."""

    def __init__(self) -> None:
        super().__init__("no active model", where="registry", mend="run `gridward train`, or retrain through the service")


class DayNotForecastable(PipelineError):
    """A day for which the station holds no readings up to its gate closure: `day`."""

    def __init__(self, day: str, first: str, last: str) -> None:
        self.day = day
        super().__init__(
            f"day {day} is outside what can be forecast from the readings", mend=f"ask for a day from {first} to {last}"
        )


class DayLearned(PipelineError):
    """A day up to which the model that answers learned: `day`, `model_id`, `learned_until`, the last day it learned from."""

    def __init__(self, day: str, model_id: str, learned_until: str) -> None:
        self.day, self.model_id, self.learned_until = day, model_id, learned_until
        super().__init__(
            f"the model in service learned from the days up to {learned_until}: what it says of them is no forecast",
            where=f"day {day}, model {model_id}",
            mend="POST /v1/backtests forecasts past days as they would have been",
        )


class DatabaseOutdated(PipelineError):
    """The database was made by an older Gridward: `table` lacks `columns`."""

    def __init__(self, table: str, columns: list[str]) -> None:
        self.table, self.columns = table, columns
        super().__init__(
            f"the database is an older Gridward's: table {table} lacks {', '.join(columns)}",
            mend="build a new station with `gridward train`, and keep the old folder for its audit log",
        )


class DatabaseBehind(PipelineError):
    """The database has an older schema, and may not be upgraded by whoever opens it: `found`, `newest`."""

    def __init__(self, found: str, newest: str) -> None:
        self.found, self.newest = found, newest
        super().__init__(
            f"the database's schema is {found}, this Gridward works on {newest}",
            mend="back it up, then run `gridward database upgrade`",
        )


class DatabaseNewer(PipelineError):
    """The database was upgraded by a newer Gridward: `found`, `newest`."""

    def __init__(self, found: str, newest: str) -> None:
        self.found, self.newest = found, newest
        super().__init__(
            f"the database's schema is {found}, of a newer Gridward; this one knows none after {newest}",
            mend=f"install the newer one, or take the database back with it: `gridward database downgrade {newest}`",
        )


class StandingKept(PipelineError):
    """A provider's standing cannot change as it was asked: `provider`, `state`."""

    def __init__(self, provider: str, state: str, problem: str, mend: str) -> None:
        self.provider, self.state = provider, state
        super().__init__(problem, where=f"provider {provider}, {state}", mend=mend)


class TrialFailed(IntegrityError):
    """A bundle did not survive its trial in a process of its own: `why`."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(
            f"the bundle failed its trial: {why}",
            mend="restore the bundle, or train a new model; the model in service stays",
        )


class AttestationRefused(IntegrityError):
    """A statement about a bundle does not hold: `why`, `where`."""

    def __init__(self, why: str, *, where: str) -> None:
        self.why = why
        super().__init__(why, where=where, mend="restore the bundle from a trusted copy, or train a new model")


class ModelWaits(PipelineError):
    """A model waits for operators: `model_id`, `signed_by`, `needed`."""

    exit_code = 7

    def __init__(self, model_id: str, signed_by: tuple[str, ...], needed: int) -> None:
        self.model_id, self.signed_by, self.needed = model_id, signed_by, needed
        so_far = ", ".join(signed_by) or "nobody"
        super().__init__(
            f"waits for {needed} operators, approved by {so_far}",
            where=f"model {model_id}",
            mend=f"`gridward registry approve {model_id}` by each of them, then `gridward registry promote {model_id}`",
        )


class BackupOutOfLine(IntegrityError):
    """A backup is missing, or another stands in its place: `sequence`."""

    def __init__(self, sequence: int, problem: str) -> None:
        self.sequence = sequence
        super().__init__(problem, where=f"backups/{sequence:06d}", mend="restore the folder of backups from a trusted copy")


class DatabaseDamaged(IntegrityError):
    """SQLite found damage in a database: `path`, `found`."""

    def __init__(self, path: str, found: str) -> None:
        self.path, self.found = path, found
        super().__init__(f"the database is damaged: {found}", where=path, mend="restore it from an earlier backup")


class RecoveryUnfinished(PipelineError):
    """Another recovery was begun and not brought to an end: `recovery_id`, `provider`, `since`."""

    def __init__(self, recovery_id: str, provider: str, since: str) -> None:
        self.recovery_id, self.provider, self.since = recovery_id, provider, since
        super().__init__(
            f"recovery {recovery_id} is not finished",
            where=f"provider {provider}",
            mend=f"go on with it first, as it was begun: `gridward recover --provider {provider} --since {since}`",
        )


class RecoveryRunning(UnavailableError):
    """Another process recovers this station at this moment: `home`."""

    def __init__(self, home: str) -> None:
        self.home = home
        super().__init__("another recovery is running", where=home, mend="wait for it, then run this again")


class GateFailed(PipelineError):
    """A recovered model did not pass and is not in service: `recovery_id`, `gates`, the sentence of each that failed."""

    exit_code = 6

    def __init__(self, recovery_id: str, gates: list[str]) -> None:
        self.recovery_id, self.gates = recovery_id, gates
        super().__init__(
            f"the recovered model did not pass: {'; '.join(gates)}",
            where=f"recovery {recovery_id}",
            mend="read its report; the model in service stays, the provider stays revoked",
        )


class ClaimsNotMet(PipelineError):
    """A run was completed and its figures are not what is claimed of it: `claims`."""

    exit_code = 6

    def __init__(self, claims: list[str]) -> None:
        self.claims = claims
        super().__init__(
            f"{len(claims)} claim(s) did not hold: {'; '.join(claims)}", mend="read the report before quoting any figure"
        )


class TooManyJobs(RateLimited):
    """As many jobs of a caller wait as may: `by`, `queued`."""

    def __init__(self, by: str, queued: int) -> None:
        self.by, self.queued = by, queued
        super().__init__(
            f"{queued} jobs of yours wait already",
            retry_after_seconds=60,
            mend="wait until they are done, or cancel one: POST /v1/jobs/{id}/cancel",
        )


class JobKept(PipelineError):
    """A job cannot be cancelled: `job_id`, `state`."""

    def __init__(self, job_id: str, state: str) -> None:
        self.job_id, self.state = job_id, state
        super().__init__(f"it is {state}", where=f"job {job_id}", mend="only a job that is queued can be cancelled")


class IncidentClosed(PipelineError):
    """An incident was closed before: `incident_id`, `by`."""

    def __init__(self, incident_id: str, by: str) -> None:
        self.incident_id, self.by = incident_id, by
        super().__init__(f"{by} closed it before", where=f"incident {incident_id}", mend="read why: GET /v1/incidents/{id}")


class IdempotencyMismatch(PipelineError):
    """A key that stands for another request was sent with this one: `key`."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(
            "this Idempotency-Key was used for another request",
            mend="choose a new key for a new request; repeat a request with the very same body",
        )


class AnswerInFlight(PipelineError):
    """The first request with this key is being answered at this moment: `key`."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__("the first request with this Idempotency-Key is not answered yet", mend="ask again in a moment")


class NoWeatherToChange(PipelineError):
    """The model that answers reads no weather, so other temperatures change nothing: `model_id`."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id
        super().__init__(
            "a what-if needs a model that reads the weather, and the one that answers reads none",
            where=f"model {model_id}",
            mend="ask when trusted weather is back: see `GET /v1/providers`",
        )


class WrongLength(PipelineError):
    """Temperatures that are not one for each interval of the day: `day`, `given`, `needed`."""

    def __init__(self, day: str, given: int, needed: int) -> None:
        self.day, self.given, self.needed = day, given, needed
        super().__init__(
            f"{given} temperatures for a day of {needed} intervals",
            where=f"day {day}",
            mend="give one for each interval of the local day; a day on which the clocks move has 23 or 25 hours",
        )


class WeatherImpossible(PipelineError):
    """Temperatures that are no day's weather: `day`, `reasons`, in plain words."""

    def __init__(self, day: str, reasons: tuple[str, ...]) -> None:
        self.day, self.reasons = day, reasons
        super().__init__(
            f"no day has such temperatures: {'; '.join(reasons)}",
            where=f"day {day}",
            mend="move the forecast temperature by some degrees with shift_c, or start from a day that was measured",
        )
