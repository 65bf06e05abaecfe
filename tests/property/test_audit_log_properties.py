from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import Session, SQLModel, create_engine

from security.audit_check import verify_log
from security.audit_heads import SignedHead, read_heads, sign_head
from security.audit_log import AuditEntry, append
from security.errors import AuditLogBroken
from security.signing import new_signer

SIGNER = new_signer()
TABLE = SQLModel.metadata.tables["audit_entry"]
TREE = SQLModel.metadata.tables["audit_node"]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
acts = st.lists(
    st.tuples(texts, texts, texts, st.dictionaries(st.sampled_from("abc"), st.integers() | texts, max_size=2)),
    min_size=2,
    max_size=6,
)
moments = st.datetimes(timezones=st.just(UTC), min_value=datetime(2012, 1, 1), max_value=datetime(2015, 1, 1))  # noqa: DTZ001 (hypothesis wants naive bounds)


@contextmanager
def log_of(written: list[Any], at: datetime) -> Iterator[tuple[Session, list[SignedHead]]]:
    """A signed log whose triggers an intruder has removed."""
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine, tables=[TABLE, TREE])
    with tempfile.TemporaryDirectory() as folder, Session(engine) as session:
        for actor, action, subject, details in written:
            append(session, actor=actor, action=action, subject=subject, details=details, at=at)
        heads_path = Path(folder) / "heads.jsonl"
        sign_head(session, SIGNER, heads_path, at)
        session.commit()
        for moment in ("update", "delete", "insert"):
            session.connection().execute(text(f"DROP TRIGGER audit_entry_refuse_{moment}"))
            session.connection().execute(text(f"DROP TRIGGER audit_node_refuse_{moment}"))
        yield session, read_heads(heads_path, {SIGNER.key_id: SIGNER.public_key})
    engine.dispose()


def rows_of(session: Session) -> list[dict[str, Any]]:
    return [dict(row) for row in session.connection().execute(TABLE.select().order_by(TABLE.c.seq)).mappings()]


def rewrite(session: Session, rows: list[dict[str, Any]]) -> None:
    session.connection().execute(TABLE.delete())
    if rows:
        session.connection().execute(TABLE.insert(), rows)


@settings(deadline=None, max_examples=40)
@given(written=acts, at=moments)
def test_an_untouched_log_holds(written: list[Any], at: datetime):
    with log_of(written, at) as (session, heads):
        assert verify_log(session, heads) == len(written)
        rewrite(session, rows_of(session))
        assert verify_log(session, heads) == len(written)


@settings(deadline=None, max_examples=80)
@given(written=acts, at=moments, data=st.data())
def test_any_altered_field_of_any_entry_is_found_at_that_entry(written: list[Any], at: datetime, data: st.DataObject):
    with log_of(written, at) as (session, heads):
        rows = rows_of(session)
        place = data.draw(st.integers(0, len(rows) - 1))
        field = data.draw(st.sampled_from([name for name in AuditEntry.model_fields if name != "seq"]))
        new = data.draw((moments if field == "at" else texts).filter(lambda value: value != rows[place][field]))
        rows[place][field] = new
        rewrite(session, rows)
        with pytest.raises(AuditLogBroken) as broken:
            verify_log(session, heads)
        assert broken.value.seq == place + 1


@settings(deadline=None, max_examples=60)
@given(written=acts, at=moments, data=st.data())
def test_any_removed_entries_are_found_also_when_the_rest_is_renumbered(
    written: list[Any], at: datetime, data: st.DataObject
):
    with log_of(written, at) as (session, heads):
        rows = rows_of(session)
        start = data.draw(st.integers(0, len(rows) - 1))
        del rows[start : data.draw(st.integers(start + 1, len(rows)))]
        if data.draw(st.booleans()):
            rows = [{**row, "seq": number} for number, row in enumerate(rows, 1)]
        rewrite(session, rows)
        with pytest.raises(AuditLogBroken) as broken:
            verify_log(session, heads)
        assert broken.value.seq == start + 1


@settings(deadline=None, max_examples=60)
@given(written=acts, at=moments, data=st.data())
def test_any_reordering_is_found(written: list[Any], at: datetime, data: st.DataObject):
    with log_of(written, at) as (session, heads):
        rows = rows_of(session)
        order = data.draw(st.permutations(range(len(rows))).filter(lambda order: list(order) != sorted(order)))
        rewrite(session, [{**rows[old], "seq": number} for number, old in enumerate(order, 1)])
        with pytest.raises(AuditLogBroken):
            verify_log(session, heads)


@settings(deadline=None, max_examples=60)
@given(written=acts, at=moments, data=st.data())
def test_any_inserted_entry_is_found(written: list[Any], at: datetime, data: st.DataObject):
    with log_of(written, at) as (session, heads):
        rows = rows_of(session)
        place = data.draw(st.integers(0, len(rows) - 1))
        rows.insert(place, {**rows[place], "actor": "mallory", "previous_hash": "forged"})
        rewrite(session, [{**row, "seq": number} for number, row in enumerate(rows, 1)])
        with pytest.raises(AuditLogBroken):
            verify_log(session, heads)


@settings(deadline=None, max_examples=40)
@given(written=acts, at=moments, data=st.data())
def test_a_whole_new_chain_is_found_against_the_signed_head(written: list[Any], at: datetime, data: st.DataObject):
    with log_of(written, at) as (session, heads):
        place = data.draw(st.integers(0, len(written) - 1))
        actor, action, subject, details = written[place]
        forged = [*written[:place], (f"{actor}!", action, subject, details), *written[place + 1 :]]
        rewrite(session, [])
        session.connection().execute(TREE.delete())
        for actor, action, subject, details in forged:
            append(session, actor=actor, action=action, subject=subject, details=details, at=at)
        assert verify_log(session, []) == len(written)
        with pytest.raises(AuditLogBroken):
            verify_log(session, heads)
