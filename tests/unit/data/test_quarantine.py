"""Refused input is kept as evidence, with a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlmodel import Session

from data.quarantine import QuarantinedItem, quarantine, quarantined_from

NOON = datetime(2014, 3, 1, 12, tzinfo=UTC)


def refuse(session: Session, source: str, hours: int) -> QuarantinedItem:
    at = NOON + timedelta(hours=hours)
    return quarantine(session, source=source, reason="replayed", detail="again", digest="ab" * 32, received_at=at)


def test_what_was_refused_is_kept_with_its_reason_and_time(session: Session):
    kept = refuse(session, "aurora", 0)
    session.expire_all()
    (found,) = quarantined_from(session, "aurora")
    assert found.id == kept.id
    assert (found.reason, found.detail, found.digest) == ("replayed", "again", "ab" * 32)
    assert found.received_at == NOON


def test_items_come_oldest_first_and_of_the_one_source_only(session: Session):
    for source, hours in (("aurora", 5), ("boreas", 1), ("aurora", 2), ("aurora", 9)):
        refuse(session, source, hours)
    times = [item.received_at for item in quarantined_from(session, "aurora")]
    assert times == [NOON + timedelta(hours=hours) for hours in (2, 5, 9)]
    assert quarantined_from(session, "nobody") == []
