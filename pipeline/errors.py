"""Errors of the pipeline room."""

from __future__ import annotations

from security.errors import GridwardError, IntegrityError, UnavailableError


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


class DatabaseOutdated(PipelineError):
    """The database was made by an older Gridward: `table` lacks `columns`."""

    def __init__(self, table: str, columns: list[str]) -> None:
        self.table, self.columns = table, columns
        super().__init__(
            f"the database is an older Gridward's: table {table} lacks {', '.join(columns)}",
            mend="build a new station with `gridward train`, and keep the old folder for its audit log",
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
