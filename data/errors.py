"""Errors of the data room: readings and files that cannot be used."""

from __future__ import annotations

from typing import Literal

from security.errors import GridwardError, IntegrityError


class DataError(GridwardError):
    """Input that cannot be used; nothing of it was taken in."""

    exit_code = 2


class FileRefused(DataError):
    """A file breaks the data contract: `path`, `row` (1 is the header; 0 when no row is to blame)."""

    def __init__(self, problem: str, *, path: str, row: int = 0, mend: str = "") -> None:
        self.path = path
        self.row = row
        super().__init__(problem, where=f"{path}, row {row}" if row else path, mend=mend)


class DatasetMismatch(DataError):
    """The embedded data set is not the one this release was built on."""


class ReportRefused(DataError):
    """A provider's report failed authentication or validity checks: `provider`, `reason`."""

    def __init__(self, problem: str, *, provider: str, reason: str, mend: str = "") -> None:
        self.provider = provider
        self.reason = reason
        super().__init__(problem, where=f"provider {provider}", mend=mend)


ProviderReason = Literal[
    "revoked", "forbidden", "timeout", "unreachable", "http_status", "redirected", "too_large", "truncated", "bad_type",
    "malformed", "wrong_unit", "wrong_place", "out_of_physics", "from_the_future", "replayed", "stale", "unexpected",
]  # fmt: skip


class ProviderFailed(DataError):
    """A weather provider gave no usable answer: `provider`, `reason` (docs/providers.md), `url` without secrets, and
    `payload`, the bytes that were refused (empty when none were read).
    """

    def __init__(
        self, problem: str, *, provider: str, reason: ProviderReason, mend: str, url: str = "", payload: bytes = b""
    ) -> None:
        self.provider = provider
        self.reason = reason
        self.url = url
        self.payload = payload
        super().__init__(problem, where=f"provider {provider}", mend=mend)


class NoTrustedWeather(DataError):
    """Every weather source is quarantined, revoked or silent."""


class ContractBroken(DataError):
    """Rows that may not enter a table of the lake: `table`, `failures` (0: a column is missing), and the first of them."""

    def __init__(self, table: str, failures: int, problem: str) -> None:
        self.table = table
        self.failures = failures
        super().__init__(
            f"{failures} values break the contract: {problem}" if failures else problem,
            where=f"lake table {table}",
            mend="see docs/data-contract.md; nothing of the batch was taken in",
        )


class LakeRefused(IntegrityError):
    """A table of the lake is not as it was signed: `table`, `version` (−1: unknown)."""

    def __init__(self, table: str, version: int, problem: str, *, mend: str) -> None:
        self.table = table
        self.version = version
        super().__init__(problem, where=f"lake table {table}, version {version}", mend=mend)


class LakeRolledBack(LakeRefused):
    """Versions that were acknowledged are gone: `table`, `version` found, `acknowledged`."""

    def __init__(self, table: str, version: int, acknowledged: int) -> None:
        self.acknowledged = acknowledged
        problem = f"version {acknowledged} was acknowledged, and is gone"
        super().__init__(table, version, problem, mend="restore the lake from a backup")
