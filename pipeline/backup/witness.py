"""The station's audit log as witness: who did what with the backups, and which was the newest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlmodel import select

from pipeline.backup.chain import Backup, require_newest
from pipeline.database import transaction
from pipeline.station import Station, note
from security.audit_log import AuditEntry
from security.errors import GridwardError

CREATED = "backup.created"


@contextmanager
def refusals_recorded(station: Station | None, action: str, folder: Path, by: str) -> Iterator[None]:
    """Enter in the audit log why `action` on a folder of backups was refused; without a station there is no log."""
    try:
        yield
    except GridwardError as error:
        if station is not None:
            why = {"tried": action, "why": str(error)}
            note(station, actor=by, action="backup.refused", subject=str(folder), details=why, at=datetime.now(UTC))
        raise


@contextmanager
def recorded(station: Station | None, action: str, folder: Path, by: str) -> Iterator[dict[str, object]]:
    """The same, and enter what was done. Gives the details to be filled in."""
    details: dict[str, object] = {}
    with refusals_recorded(station, action, folder, by):
        yield details
    if station is not None:
        note(station, actor=by, action=action, subject=str(folder), details=details, at=datetime.now(UTC))


def require_known(station: Station | None, chain: list[Backup]) -> None:
    """Raise BackupOutOfLine when the audit log knows a later backup of this series, or another in one's place."""
    for facts in _known(station, chain):
        require_newest(chain, facts["sequence"], facts["digest"], "the station's audit log")


def knows_series(station: Station | None, chain: list[Backup]) -> bool:
    """Whether the audit log speaks of this series of backups at all."""
    return bool(_known(station, chain))


def _known(station: Station | None, chain: list[Backup]) -> list[dict[str, Any]]:
    if station is None or not chain:
        return []
    with transaction(station.engine) as session:
        entries = session.exec(select(AuditEntry).where(AuditEntry.action == CREATED)).all()
    made = [json.loads(entry.details) for entry in entries]
    return [facts for facts in made if facts["series"] == chain[-1].series]
