"""Whose approvals of promotions came over the wire: TUF counts keys, this table counts people."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, Session, SQLModel, select

from security.errors import PermissionDenied
from security.identity import Identity
from security.keyring import UtcDateTime


class NotTwoPeople(PermissionDenied):
    """An approval that would let one person, or a program, decide alone: `subject`."""

    def __init__(self, subject: str, problem: str) -> None:
        self.subject = subject
        super().__init__(problem, mend="have another operator approve it, with a key of their own")


class PromotionApproval(SQLModel, table=True):
    """One person's approval of a proposal; proposal: SHA-256 of the bytes that were signed."""

    __tablename__ = "promotion_approval"
    __table_args__ = (UniqueConstraint("proposal", "key_id"),)

    proposal: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    key_id: str
    at: datetime = Field(sa_type=UtcDateTime)


def enter_person(session: Session, proposal: str, by: Identity, key_id: str, at: datetime) -> None:
    """Enter that this person signs this proposal with this key; doing it twice changes nothing.

    Raises NotTwoPeople for a program, a person who signed with another key, and a key that signed for another person.
    """
    if by.is_service or by.key_id:
        raise NotTwoPeople(by.subject, "a program does not approve a model")
    person = person_of(by)
    for key, signed_for in people_by_key(session, proposal).items():
        if (key, signed_for) == (key_id, person):
            return
        if signed_for == person:
            raise NotTwoPeople(by.subject, "the same person does not approve twice")
        if key == key_id:
            raise NotTwoPeople(by.subject, "this key approved for another person")
    session.add(PromotionApproval(proposal=proposal, subject=person, key_id=key_id, at=at))
    session.flush()


def people_by_key(session: Session, proposal: str) -> dict[str, str]:
    """Who signed a proposal over the wire, by the id of the key."""
    signed = select(PromotionApproval).where(PromotionApproval.proposal == proposal)
    return {approval.key_id: approval.subject for approval in session.exec(signed)}


def person_of(by: Identity) -> str:
    """One spelling of a name: who is called Olga is not somebody else as olga."""
    return by.subject.strip().casefold()
