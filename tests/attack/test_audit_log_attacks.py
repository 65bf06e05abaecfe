"""Somebody who owns the database rewrites history: what the triggers refuse, and what the signed heads show without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from security.audit_check import check_entries, entries_from, verify_whole_log
from security.audit_heads import read_heads
from security.audit_log import AuditEntry, append
from security.errors import AuditLogBroken, SignatureInvalid
from tests.unit.security.audit_station import NOON, AuditStation, audit_station

FORGED = (
    "INSERT INTO audit_entry SELECT {seq}, at, 'mallory', action, subject, details, 'forged', 'ab' "
    "FROM audit_entry WHERE seq = 20"
)
SHIFT_UP = (
    "UPDATE audit_entry SET seq = -seq WHERE seq > 20",
    "UPDATE audit_entry SET seq = 1 - seq WHERE seq < 0",
)
SHIFT_DOWN = (
    "UPDATE audit_entry SET seq = -seq WHERE seq > 20",
    "UPDATE audit_entry SET seq = -1 - seq WHERE seq < 0",
)
TAMPERS = {
    "altered": (("UPDATE audit_entry SET actor = 'mallory' WHERE seq = 20",), 20),
    "deleted": (("DELETE FROM audit_entry WHERE seq = 20",), 20),
    "deleted and renumbered": (("DELETE FROM audit_entry WHERE seq = 20", *SHIFT_DOWN), 20),
    "reordered": (
        (
            "UPDATE audit_entry SET seq = 0 WHERE seq = 20",
            "UPDATE audit_entry SET seq = 20 WHERE seq = 21",
            "UPDATE audit_entry SET seq = 21 WHERE seq = 0",
        ),
        20,
    ),
    "inserted": ((*SHIFT_UP, FORGED.format(seq=21)), 21),
    "inserted before the first": ((FORGED.format(seq=0),), 1),
    "truncated": (("DELETE FROM audit_entry WHERE seq > 30",), 31),
    "truncated with its tree": (("DELETE FROM audit_entry WHERE seq > 30", "DELETE FROM audit_node WHERE seq > 30"), 31),
    "emptied": (("DELETE FROM audit_entry", "DELETE FROM audit_node"), 1),
}  # fmt: skip


@pytest.fixture
def station(database_url: str, tmp_path: Path) -> Iterator[AuditStation]:
    with audit_station(database_url, tmp_path / "home") as opened:
        opened.write(40)
        opened.sign()
        yield opened


@pytest.mark.parametrize(("statements", "seq"), TAMPERS.values(), ids=TAMPERS)
def test_history_rewritten_behind_the_triggers_is_found_at_its_place(
    station: AuditStation, statements: tuple[str, ...], seq: int
) -> None:
    assert station.verify().entries == 40

    station.behind_the_triggers(*statements)

    with pytest.raises(AuditLogBroken) as broken:
        station.verify()
    assert broken.value.seq == seq


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor = 'mallory' WHERE seq = 20",
        "DELETE FROM audit_entry WHERE seq = 40",
        "INSERT INTO audit_entry SELECT 42, at, actor, action, subject, details, 'a', 'b' FROM audit_entry WHERE seq = 40",
        "INSERT INTO audit_entry SELECT 0, at, actor, action, subject, details, 'a', 'b' FROM audit_entry WHERE seq = 40",
        "UPDATE audit_node SET hashes = 'ab' WHERE seq = 20",
        "DELETE FROM audit_node",
        "INSERT INTO audit_node VALUES (42, 'ab')",
    ],
)
def test_the_database_refuses_anything_but_the_next_entry(station: AuditStation, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), station.transaction() as session:
        session.connection().execute(text(statement))

    assert station.verify().entries == 40


def test_postgresql_refuses_to_empty_the_log_as_well(postgresql_url: str, tmp_path: Path) -> None:
    with audit_station(postgresql_url, tmp_path) as station:
        station.write(3)
        for table in ("audit_entry", "audit_node"):
            with pytest.raises(DBAPIError, match="append-only"), station.transaction() as session:
                session.connection().execute(text(f"TRUNCATE {table}"))
        station.sign()
        assert station.verify().entries == 3


def rewritten(session: Session, entries: list[AuditEntry]) -> None:
    """The same acts by somebody else, every hash computed anew by Gridward's own code."""
    for entry in entries:
        actor = "mallory" if entry.seq == 20 else entry.actor
        append(session, actor=actor, action=entry.action, subject=entry.subject, details={}, at=entry.at)


def test_a_whole_log_computed_anew_wins_without_signed_heads_and_loses_against_them(station: AuditStation) -> None:
    with station.transaction() as session:
        entries = list(session.exec(select(AuditEntry).order_by(col(AuditEntry.seq))))
    station.behind_the_triggers("DELETE FROM audit_entry", "DELETE FROM audit_node")
    with station.transaction() as session:
        rewritten(session, entries)

    # Without its safeguard: the forged log holds together.
    assert verify_whole_log(station.transaction, []).entries == 40
    with pytest.raises(AuditLogBroken, match="not the one signed"):
        station.verify()


def test_a_cut_off_end_wins_without_signed_heads(station: AuditStation) -> None:
    station.behind_the_triggers("DELETE FROM audit_entry WHERE seq > 30", "DELETE FROM audit_node WHERE seq > 30")

    assert check_entries(entries_from(station.transaction), []).entries == 30


def test_a_head_signed_with_the_intruders_own_key_is_not_believed(station: AuditStation, tmp_path: Path) -> None:
    intruder = AuditStation(station.engine, tmp_path / "home")
    intruder.write(1, first=41)
    intruder.sign(NOON)

    with pytest.raises(SignatureInvalid, match="line 2"):
        read_heads(station.heads, station.trusted)
