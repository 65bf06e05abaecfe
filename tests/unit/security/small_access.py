"""A database of keys and withdrawals in memory, for tests of who gets in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import Session, SQLModel, create_engine

from security.api_keys import MadeKey, make_api_key
from security.credentials import Credentials, read_credentials
from security.identity import Role
from security.keyring import register_key
from security.signing import Signer, new_signer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PEPPER = b"p" * 32


class SmallAccess:
    """One database, with a signing key for tokens in it since `NOON`."""

    def __init__(self) -> None:
        self.engine: Engine = create_engine("sqlite://")
        SQLModel.metadata.create_all(self.engine)
        self.signer = self.new_signer(NOON)

    @contextmanager
    def session(self) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def new_signer(self, at: datetime) -> Signer:
        signer = new_signer()
        with self.session() as session:
            register_key(
                session, purpose="token", owner="station", public_key=signer.public_key, by="test", reason="test", at=at
            )
        return signer

    def key(self, owner: str = "bot", role: Role = Role.ANALYST, lifetime: timedelta = DAY) -> MadeKey:
        with self.session() as session:
            return make_api_key(session, PEPPER, owner, role, lifetime, by="adele", at=NOON)

    def credentials(self, now: datetime = NOON) -> Credentials:
        with self.session() as session:
            return read_credentials(session, now)
