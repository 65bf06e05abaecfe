"""A small station under fuzz, and who asks it: tokens by role, and every secret that no answer may hold."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fastapi import FastAPI
from pydantic import SecretStr
from sqlmodel import select

from api.app import create_app
from api.audit_reading import verified_log
from benchmarks.api_watch import Finding, Watch, documented_problems
from pipeline.database import transaction
from pipeline.serving import Serving
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from security.audit_log import AuditEntry
from security.identity import Role, issue_token

API_DOCUMENT = Path(__file__).parents[1] / "docs" / "api.md"
PASSPHRASE = SecretStr("a passphrase that no answer may hold")
# Of one caller over its budget, and of strangers whom no route answers, one refusal of a kind is entered a minute
# (api/accounting.py).
NOT_EACH_ENTERED = ("404", "405", "413", "429")
ASKED_BY_ONE = 60


@dataclass(frozen=True)
class Callers:
    """Makes tokens. A caller is another person after every sixty requests: one whom the guard blocks stops little."""

    station: Station
    issued: list[bytes]

    def token(self, role: Role, number: int) -> str:
        """A token of a caller of this role for its request of this number."""
        subject, now = f"{role.value}-{number // ASKED_BY_ONE}", datetime.now(UTC)
        token = issue_token(self.station.signers["token"], subject, role, timedelta(hours=1), now)
        # The signature is what makes it one; what stands before it may be shown.
        self.issued.append(token.rpartition(".")[2].encode())
        return token


@dataclass(frozen=True)
class UnderFuzz:
    """A service on a station of its own, watched."""

    station: Station
    app: FastAPI
    watch: Watch
    callers: Callers

    def unaccounted(self) -> Iterator[Finding]:
        """What was answered and does not stand in the audit log; then what stands there and should not."""
        verified_log(self.station, datetime.now(UTC))
        with transaction(self.station.engine) as session:
            entries = list(session.exec(select(AuditEntry)))
        entered = {json.loads(entry.details).get("request") for entry in entries}
        for request_id, told in self.watch.to_account.items():
            if request_id not in entered and not told.startswith(NOT_EACH_ENTERED):
                yield Finding("an answer without an audit entry", "", int(told[:3]), "", told)
        for entry in entries:
            if self.watch.holds_secret(f"{entry.actor} {entry.subject} {entry.details}".encode()):
                yield Finding("a secret in the audit log", entry.subject, 0, "", entry.details[:200])

    def logged_wrongly(self, log: str) -> Iterator[Finding]:
        """What the service's own log should not hold; an unexpected failure with the line that raised it."""
        for line in log.splitlines():
            if self.watch.holds_secret(line.encode()):
                yield Finding("a secret in the log", "", 0, "", line[:200])
            if "failed unexpectedly" in line:
                places = re.findall(r'File \\"[^"]*/(\w+/\w+\.py)\\", line (\d+), in (\w+)', line)
                ours = " ← ".join(f"{path}:{number} {name}" for path, number, name in places[-3:])
                yield Finding("an unexpected failure in the log", "", 500, ours, line[-300:])


@contextlib.contextmanager
def under_fuzz(home: Path) -> Iterator[UnderFuzz]:
    """The service on the station at `home`, made anew, and its engine let go afterwards."""
    # A rate that the fuzzer does not reach: it is to get past the gates.
    settings = Settings(
        home=home, lake_url="", database_url=SecretStr(""), rate_limit_per_minute=10**6, backup_passphrase=PASSPHRASE
    )
    station = open_station(settings)
    app = create_app(Serving(station), settings)
    callers = Callers(station, [])
    secrets = [PASSPHRASE.get_secret_value().encode(), *secrets_of(station)]
    try:
        yield UnderFuzz(station, app, Watch(app, secrets, documented_problems(API_DOCUMENT.read_text())), callers)
    finally:
        station.engine.dispose()


def secrets_of(station: Station) -> list[bytes]:
    """The private keys of the station, its master key, and short secrets that its chest keeps (a pepper)."""
    chest = station.chest
    keys = [chest.signer(name).private_key.private_bytes_raw() for name in chest.names()]
    names = [path.name.removesuffix(".kept") for path in chest.folder.glob("*.kept")]
    kept = [chest.kept(name) or b"" for name in names]
    return [*keys, chest._master, *(content for content in kept if 16 <= len(content) <= 64)]
