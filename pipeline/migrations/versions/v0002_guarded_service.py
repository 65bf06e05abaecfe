"""What the guarded service keeps: keys, tokens, jobs, answers, incidents, standings, approvals, the audit log's tree."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, MetaData, String, Table, Text, UniqueConstraint

from security.append_only import triggers_of

revision, down_revision = "0002", "0001"

SCHEMA = MetaData()

Table(
    "api_key",
    SCHEMA,
    Column("key_id", String(16), primary_key=True),
    Column("digest", String, nullable=False),
    Column("owner", String, nullable=False, index=True),
    Column("role", String, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("created_by", String, nullable=False),
    Column("expires_at", String(32), nullable=False),
    Column("last_used_on", String, nullable=False),
    Column("revoked_at", String(32), nullable=True),
    Column("revoked_by", String, nullable=False),
    Column("reason", String, nullable=False),
)
Table(
    "audit_node",
    SCHEMA,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("hashes", Text, nullable=False),
)
Table(
    "guard_standing",
    SCHEMA,
    Column("subject", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("level", String, nullable=False, index=True),
    Column("why", Text, nullable=False),
    Column("since", String(32), nullable=False, index=True),
    Column("released_at", String(32), nullable=True),
    Column("released_by", String, nullable=False),
    Column("reason", Text, nullable=False),
)
Table(
    "incident",
    SCHEMA,
    Column("incident_id", String, primary_key=True),
    Column("kind", String, nullable=False, index=True),
    Column("subject", String, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("summary", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("first_at", String(32), nullable=False, index=True),
    Column("last_at", String(32), nullable=False),
    Column("open_as", String, nullable=True, unique=True),
    Column("closed_at", String(32), nullable=True),
    Column("closed_by", String, nullable=False),
    Column("reason", Text, nullable=False),
)
Table(
    "job_event",
    SCHEMA,
    Column("job_id", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("state", String, nullable=False),
    Column("stage", String, nullable=False),
    Column("share", Float, nullable=False),
)
Table(
    "job_record",
    SCHEMA,
    Column("job_id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("asked", Text, nullable=False),
    Column("requested_by", String, nullable=False, index=True),
    Column("requested_at", String(32), nullable=False, index=True),
    Column("dated", String(32), nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("stage", String, nullable=False),
    Column("share", Float, nullable=False),
    Column("result", Text, nullable=False),
    Column("problem", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("lease", String, nullable=False),
    Column("lease_until", String(32), nullable=True),
    Column("slot", String, nullable=True, unique=True),
    Column("started_at", String(32), nullable=True),
    Column("finished_at", String(32), nullable=True),
)
Table(
    "kept_answer",
    SCHEMA,
    Column("caller", String, primary_key=True),
    Column("route", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("asked_sha256", String, nullable=False),
    Column("claimed_at", String(32), nullable=False, index=True),
    Column("status", Integer, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
Table(
    "promotion_approval",
    SCHEMA,
    Column("proposal", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("key_id", String, nullable=False),
    Column("at", String(32), nullable=False),
    UniqueConstraint("proposal", "key_id"),
)
Table(
    "revoked_token",
    SCHEMA,
    Column("token_id", String(64), primary_key=True),
    Column("until", String(32), nullable=False, index=True),
    Column("revoked_at", String(32), nullable=False),
    Column("revoked_by", String, nullable=False),
    Column("reason", String, nullable=False),
)

_APPEND_ONLY = ("audit_entry", "audit_node")


def upgrade() -> None:
    """Make the tables; on PostgreSQL the log is also numbered further, and guarded by triggers as on SQLite."""
    connection = op.get_bind()
    SCHEMA.create_all(connection)
    if connection.dialect.name == "postgresql":
        op.alter_column("audit_entry", "seq", type_=BigInteger)
    for table in _APPEND_ONLY:
        for statement in triggers_of(table, connection.dialect.name):
            op.execute(statement)


def downgrade() -> None:
    """Remove the tables and what they hold; the log's entries stay."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for table in _APPEND_ONLY:
            op.execute(f"DROP FUNCTION {table}_refuse, {table}_next CASCADE")
        op.alter_column("audit_entry", "seq", type_=Integer)
    SCHEMA.drop_all(connection)
