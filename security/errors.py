"""The tree of Gridward's errors, drawn once.

    GridwardError
    ├── IntegrityError            content is not what was signed or recorded
    │   ├── SignatureInvalid      no trusted key signed these bytes
    │   ├── ContentChanged        a file is altered, missing, unknown or a symlink
    │   ├── AuditLogBroken        an audit entry was altered, removed or reordered
    │   └── KeyringError          a key is unknown, or was revoked when it was used
    ├── AccessError
    │   ├── TokenRefused          no token, or not one of ours, or out of date
    │   ├── PermissionDenied      the role may not do this
    │   └── RateLimited           asked too often
    ├── UnavailableError          something needed is not there yet
    ├── data.errors.DataError     readings or files that cannot be used
    ├── forecasting.errors.ForecastingError
    └── pipeline.errors.PipelineError

Each error carries its data as attributes, says what is wrong, where, and how to mend it, in one line.
"""

from __future__ import annotations


class GridwardError(Exception):
    """Anything Gridward refuses to do, with the reason and the mend in one line.

    `exit_code` is what the command line returns (documented in docs/cli.md).
    """

    exit_code = 1

    def __init__(self, problem: str, *, where: str = "", mend: str = "") -> None:
        self.problem = problem
        self.where = where
        self.mend = mend
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        mend = f" — {self.mend}" if self.mend else ""
        return " ".join(f"{place}{self.problem}{mend}".split())


class IntegrityError(GridwardError):
    """Content is not what was signed or recorded."""

    exit_code = 3


class SignatureInvalid(IntegrityError):
    """No trusted key signed these bytes."""


class ContentChanged(IntegrityError):
    """A file of a sealed folder is altered, missing, unknown or a symlink."""


class AuditLogBroken(IntegrityError):
    """An audit entry was altered, removed, inserted or reordered."""


class KeyringError(IntegrityError):
    """A key is unknown, or revoked, at the moment it was used."""


class AccessError(GridwardError):
    """The caller may not have this."""

    exit_code = 4


class TokenRefused(AccessError):
    """No token, or not one of ours, or out of date."""


class PermissionDenied(AccessError):
    """The caller's role may not do this."""


class RateLimited(AccessError):
    """The caller asked too often; `retry_after_seconds` says when to come back."""

    def __init__(self, problem: str, *, retry_after_seconds: float, mend: str = "") -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(problem, mend=mend)


class UnavailableError(GridwardError):
    """Something needed is not there: no active model, no limiter, no store."""

    exit_code = 5
