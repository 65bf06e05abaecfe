from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError as ConstraintBroken
from sqlmodel import Session, SQLModel, create_engine

from security.audit_check import verify_log
from security.audit_heads import head_signed, read_heads, sign_head
from security.audit_log import (
    EMPTY,
    GENESIS_HASH,
    Act,
    AuditEntry,
    Tail,
    WrittenMeanwhile,
    append,
    append_after,
    append_many,
    tail_of,
    written,
)
from security.errors import AuditLogBroken, SignatureInvalid, UnavailableError
from security.signing import Signer, new_signer

NOON = datetime(2014, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = create_engine(f"sqlite:///{tmp_path / 'gridward.db'}", connect_args={"timeout": 0.1})
    SQLModel.metadata.create_all(opened)
    yield opened
    opened.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as opened:
        yield opened


@pytest.fixture
def signer() -> Signer:
    return new_signer()


def write(session: Session, number: int) -> AuditEntry:
    return append(
        session,
        actor="olga",
        action="forecast",
        subject=f"day {number}",
        details={"number": number, "model": {"id": "m1"}},
        at=NOON + timedelta(minutes=number),
    )


def tamper(session: Session, statement: str) -> None:
    for table in ("audit_entry", "audit_node"):
        for moment in ("update", "delete", "insert"):
            session.connection().execute(text(f"DROP TRIGGER IF EXISTS {table}_refuse_{moment}"))
    session.connection().execute(text(statement))


def test_entries_are_numbered_from_one_and_chained_from_zeros(session: Session):
    first, second = write(session, 1), write(session, 2)
    assert (first.seq, first.previous_hash) == (1, GENESIS_HASH)
    assert (second.seq, second.previous_hash) == (2, first.entry_hash)
    assert json.loads(second.details) == {"number": 2, "model": {"id": "m1"}}
    assert verify_log(session, []) == 2


def test_an_empty_log_holds(session: Session):
    assert verify_log(session, []) == 0


def test_a_log_read_by_another_session_holds(engine: Engine, session: Session):
    write(session, 1)
    session.commit()
    with Session(engine) as other:
        assert verify_log(other, []) == 1
        assert write(other, 2).seq == 2


def test_many_acts_are_written_at_once_and_seal_each_other(session: Session):
    write(session, 1)
    acts = [written(Act("olga", "forecast", f"day {number}", {}, NOON)) for number in range(2, 900)]
    tail = append_many(session, acts)
    assert (tail.seq, tail) == (899, tail_of(session))
    assert append_after(session, tail, acts) == tail_of(session)
    assert verify_log(session, []) == 1797


@pytest.mark.parametrize("many", [1, 2, 3])
def test_who_remembers_an_end_of_the_log_that_is_past_writes_nothing(session: Session, many: int):
    write(session, 1)
    remembered = tail_of(session)
    write(session, 2)
    with pytest.raises(WrittenMeanwhile), session.begin_nested():
        append_after(session, remembered, [written(Act("olga", "forecast", "day 3", {}, NOON))] * many)
    assert verify_log(session, []) == 2


def test_who_remembers_an_end_of_the_log_that_was_cut_off_since_writes_nothing(session: Session):
    write(session, 1)
    remembered = Tail(4, "0" * 64, (b"peak",))
    with pytest.raises(WrittenMeanwhile), session.begin_nested():
        append_after(session, remembered, [written(Act("olga", "forecast", "day 3", {}, NOON))])
    assert verify_log(session, []) == 1


def test_a_log_that_an_older_gridward_wrote_gets_its_tree_when_it_is_first_needed(session: Session):
    for number in range(1, 12):
        write(session, number)
    whole = tail_of(session)
    for missing in (
        "DELETE FROM audit_node",
        "DELETE FROM audit_node WHERE seq > 4",
        "DELETE FROM audit_node WHERE seq = 11",
    ):
        tamper(session, missing)
        assert verify_log(session, []) == 11
        assert tail_of(session) == whole
    tamper(session, "DELETE FROM audit_node")
    write(session, 12)
    assert verify_log(session, []) == 12
    assert session.connection().execute(text("SELECT COUNT(*) FROM audit_node")).scalar_one() == 12


def test_no_tree_is_made_over_a_hole_in_the_log(session: Session):
    for number in range(1, 6):
        write(session, number)
    tamper(session, "DELETE FROM audit_node")
    tamper(session, "DELETE FROM audit_entry WHERE seq = 3")
    with pytest.raises(AuditLogBroken) as broken:
        write(session, 6)
    assert broken.value.seq == 3


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("UPDATE audit_node SET hashes = replace(hashes, 'a', 'b') WHERE seq = 2", 2),
        ("UPDATE audit_node SET hashes = substr(hashes, 1, 64) WHERE seq = 2", 2),
        ("UPDATE audit_node SET hashes = hashes || 'ab' WHERE seq = 1", 1),
        ("DELETE FROM audit_node WHERE seq = 2", 3),
        ("INSERT INTO audit_node VALUES (4, 'ab')", 4),
    ],
)
def test_what_is_stored_of_the_tree_is_held_to_the_entries(session: Session, statement: str, seq: int):
    for number in (1, 2, 3):
        write(session, number)
    tamper(session, statement)
    with pytest.raises(AuditLogBroken) as broken:
        verify_log(session, [])
    assert broken.value.seq == seq


@pytest.mark.parametrize("subject", ["a\0b", "\ud800", "day \u2028 1", "'; DROP TABLE audit_entry; --", '{"a": [1]}'])
def test_whatever_a_client_can_name_can_be_entered(session: Session, subject: str):
    entry = append(
        session, actor=subject, action="forecast", subject=subject, details={"day": subject.strip("\ud800")}, at=NOON
    )
    assert "\0" not in entry.subject
    assert verify_log(session, []) == 1


def test_what_the_caller_rolls_back_was_never_logged(session: Session):
    write(session, 1)
    session.commit()
    write(session, 2)
    session.rollback()
    assert verify_log(session, []) == 1


def test_two_writers_cannot_fork_the_chain(engine: Engine, session: Session):
    write(session, 1)
    session.commit()
    with Session(engine) as slow:
        slow.get(AuditEntry, 1)
        write(session, 2)
        with pytest.raises(UnavailableError, match="another writer"):
            write(slow, 2)
        slow.rollback()
        session.commit()
        assert write(slow, 3).seq == 3
        assert verify_log(slow, []) == 3


def test_an_entry_with_a_number_already_taken_is_refused_as_another_writers(
    session: Session, monkeypatch: pytest.MonkeyPatch
):
    write(session, 1)
    monkeypatch.setattr("security.audit_log._tail", lambda _session: EMPTY)
    with pytest.raises(UnavailableError, match="another writer"):
        write(session, 2)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor = 'mallory' WHERE seq = 1",
        "DELETE FROM audit_entry WHERE seq = 2",
        "INSERT OR REPLACE INTO audit_entry SELECT 1, at, 'mallory', action, subject, details, 'a', 'b' "
        "FROM audit_entry WHERE seq = 1",
        "INSERT INTO audit_entry SELECT 9, at, actor, action, subject, details, 'a', 'b' FROM audit_entry WHERE seq = 1",
    ],
)
def test_the_database_itself_refuses_anything_but_appending(session: Session, statement: str):
    write(session, 1)
    write(session, 2)
    session.commit()
    with pytest.raises(ConstraintBroken, match="append-only"):
        session.connection().execute(text(statement))
    session.rollback()
    assert verify_log(session, []) == 2


@pytest.mark.parametrize(
    ("statement", "seq", "why"),
    [
        ("UPDATE audit_entry SET actor = 'mallory' WHERE seq = 2", 2, "altered"),
        ("UPDATE audit_entry SET at = '2014-03-01T12:03:00.000000+00:00' WHERE seq = 2", 2, "altered"),
        ("UPDATE audit_entry SET at = 'yesterday' WHERE seq = 2", 2, "altered"),
        ("UPDATE audit_entry SET details = X'00FF' WHERE seq = 2", 2, "altered"),
        ("UPDATE audit_entry SET details = CAST(X'FF' AS TEXT) WHERE seq = 2", 2, "cannot be read"),
        ("UPDATE audit_entry SET entry_hash = 'ab' WHERE seq = 3", 3, "altered"),
        ("UPDATE audit_entry SET previous_hash = 'ab' WHERE seq = 3", 3, "does not follow"),
        ("DELETE FROM audit_entry WHERE seq = 1", 1, "removed"),
        ("DELETE FROM audit_entry WHERE seq = 2", 2, "removed"),
    ],
)
def test_tampering_behind_the_triggers_is_found_at_its_place(session: Session, statement: str, seq: int, why: str):
    for number in (1, 2, 3):
        write(session, number)
    session.commit()
    tamper(session, statement)
    with pytest.raises(AuditLogBroken, match=why) as broken:
        verify_log(session, [])
    assert broken.value.seq == seq


def test_a_cut_off_end_is_seen_only_against_a_signed_head(session: Session, signer: Signer, tmp_path: Path):
    for number in (1, 2, 3):
        write(session, number)
    session.commit()
    sign_head(session, signer, tmp_path / "heads.jsonl", NOON)
    tamper(session, "DELETE FROM audit_entry WHERE seq = 3")
    with pytest.raises(AuditLogBroken, match="stored of the tree ends at entry 3"):
        verify_log(session, [])
    tamper(session, "DELETE FROM audit_node WHERE seq = 3")
    assert verify_log(session, []) == 2
    heads = read_heads(tmp_path / "heads.jsonl", {signer.key_id: signer.public_key})
    with pytest.raises(AuditLogBroken, match="cut off: entry 3 had been signed") as broken:
        verify_log(session, heads)
    assert broken.value.seq == 3


def test_a_chain_computed_anew_contradicts_the_signed_head(session: Session, signer: Signer, tmp_path: Path):
    write(session, 1)
    sign_head(session, signer, tmp_path / "heads.jsonl", NOON)
    heads = read_heads(tmp_path / "heads.jsonl", {signer.key_id: signer.public_key})
    tamper(session, "DELETE FROM audit_entry")
    tamper(session, "DELETE FROM audit_node")
    append(session, actor="mallory", action="forecast", subject="day 1", details={}, at=NOON)
    assert verify_log(session, []) == 1
    with pytest.raises(AuditLogBroken, match="not the one signed at 2014-03-01T12:00"):
        verify_log(session, heads)


def test_heads_grow_line_by_line_and_hold_while_the_log_grows(session: Session, signer: Signer, tmp_path: Path):
    path = tmp_path / "elsewhere" / "heads.jsonl"
    made = []
    for number in (1, 2, 3):
        write(session, number)
        made.append(sign_head(session, signer, path, NOON))
    heads = read_heads(path, {signer.key_id: signer.public_key})
    assert heads == made
    write(session, 4)
    assert verify_log(session, heads) == 4


def test_a_log_that_grew_since_its_last_signed_head_is_told(session: Session, signer: Signer, tmp_path: Path):
    heads = tmp_path / "heads.jsonl"
    assert head_signed(session, heads)
    write(session, 1)
    assert not head_signed(session, heads)
    sign_head(session, signer, heads, NOON)
    assert head_signed(session, heads)
    write(session, 2)
    assert not head_signed(session, heads)
    heads.write_bytes(heads.read_bytes() + b"{")
    assert not head_signed(session, heads)


def test_an_empty_log_has_no_head(session: Session, signer: Signer, tmp_path: Path):
    with pytest.raises(UnavailableError, match="empty"):
        sign_head(session, signer, tmp_path / "heads.jsonl", NOON)


def test_missing_heads_are_not_taken_for_a_clean_log(tmp_path: Path):
    with pytest.raises(UnavailableError, match="no signed heads"):
        read_heads(tmp_path / "heads.jsonl", {})


def test_a_head_that_no_trusted_key_signed_is_refused_with_its_line(session: Session, signer: Signer, tmp_path: Path):
    path, trusted = tmp_path / "heads.jsonl", {signer.key_id: signer.public_key}
    write(session, 1)
    sign_head(session, signer, path, NOON)
    good = path.read_text()
    line = json.loads(good)
    for bad in (
        "",
        "[]",
        "not json",
        json.dumps({**line, "seq": 2}),
        json.dumps({**line, "at": "2014-03-01T12:00:00"}),
        json.dumps({**line, "signature": "zz"}),
        json.dumps({**line, "key_id": "0" * 32}),
    ):
        path.write_text(good + bad + "\n")
        with pytest.raises(SignatureInvalid, match="line 2"):
            read_heads(path, trusted)
    path.write_text(good)
    with pytest.raises(SignatureInvalid, match="line 1"):
        read_heads(path, {})


def test_heads_that_run_backwards_or_disagree_are_refused(session: Session, signer: Signer, tmp_path: Path):
    path, trusted = tmp_path / "heads.jsonl", {signer.key_id: signer.public_key}
    for number in (1, 2):
        write(session, number)
        sign_head(session, signer, path, NOON)
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    with pytest.raises(AuditLogBroken, match="contradict"):
        read_heads(path, trusted)
    session.rollback()
    path.unlink()
    for number in (1, 2):
        write(session, number)
        sign_head(session, signer, path, NOON)
        session.rollback()
    with pytest.raises(AuditLogBroken, match="contradict"):
        read_heads(path, trusted)


@pytest.mark.parametrize(
    "details",
    [
        {"token": "x"},
        {"access_token": "x"},
        {"accessToken": "x"},
        {"user": {"Password": "x"}},
        {"count": 1, "keys": ["a", {"private_key": "x"}]},
        {"PRIVATE-KEY-PEM": "x"},
        {"client secret": "x"},
        {"SECRET_KEY": "x"},
    ],
)
def test_what_looks_like_a_secret_is_not_logged(session: Session, details: dict[str, object]):
    with pytest.raises(ValueError, match="looks like a secret"):
        append(session, actor="olga", action="login", subject="service", details=details, at=NOON)
    assert verify_log(session, []) == 0


def test_names_of_secrets_may_be_logged(session: Session):
    details = {"token_id": "a1", "key_id": "b2", "public_key": "c3", "secretary": "d4"}
    entry = append(session, actor="olga", action="login", subject="service", details=details, at=NOON)
    assert json.loads(entry.details) == details


def test_details_that_json_cannot_hold_and_naive_moments_are_refused(session: Session):
    for details, at in (({"x": float("nan")}, NOON), ({}, NOON.replace(tzinfo=None))):
        with pytest.raises(ValueError, match=r"JSON|naive"):
            append(session, actor="olga", action="forecast", subject="day", details=details, at=at)
