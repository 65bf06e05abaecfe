"""A log with its heads, on a database of its own, for the tests of the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, text
from sqlmodel import Session

from pipeline.database import make_engine, transaction
from security.audit_check import VerifiedLog, verify_whole_log
from security.audit_heads import SignedHead, read_heads, sign_head
from security.audit_log import Act, append_many, written
from security.signing import PublicKey, Signer, new_signer

NOON = datetime(2014, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class AuditStation:
    engine: Engine
    home: Path
    signer: Signer = field(default_factory=new_signer)

    @property
    def heads(self) -> Path:
        return self.home / "heads.jsonl"

    @property
    def witness(self) -> Path:
        return self.home / "elsewhere" / "heads.jsonl"

    @property
    def trusted(self) -> dict[str, PublicKey]:
        return {self.signer.key_id: self.signer.public_key}

    def transaction(self) -> AbstractContextManager[Session]:
        return transaction(self.engine)

    def write(self, many: int, first: int = 1) -> None:
        acts = [
            Act("olga", "forecast", f"day {number}", {"number": number}, NOON + timedelta(seconds=number))
            for number in range(first, first + many)
        ]
        with self.transaction() as session:
            append_many(session, [written(act) for act in acts])

    def sign(self, at: datetime = NOON, witness: Path | None = None) -> SignedHead:
        with self.transaction() as session:
            return sign_head(session, self.signer, self.heads, at, witness)

    def read_heads(self) -> list[SignedHead]:
        return read_heads(self.heads, self.trusted)

    def verify(self) -> VerifiedLog:
        return verify_whole_log(self.transaction, self.read_heads())

    def behind_the_triggers(self, *statements: str) -> None:
        """What the database's owner can do: put the triggers aside, and change what they like."""
        tables = ("audit_entry", "audit_node")
        with self.transaction() as session:
            connection = session.connection()
            for table in tables:
                if connection.dialect.name == "postgresql":
                    connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
                    continue
                for moment in ("update", "delete", "insert"):
                    connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_refuse_{moment}"))
            for statement in statements:
                connection.execute(text(statement))


@contextmanager
def audit_station(url: str, home: Path) -> Iterator[AuditStation]:
    engine = make_engine(url, home)
    try:
        yield AuditStation(engine, home)
    finally:
        engine.dispose()
