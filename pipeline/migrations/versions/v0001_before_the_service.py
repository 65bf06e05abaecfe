"""The schema of issue 6, which no database says of itself: a station made before is taken for this one."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Date, Float, Integer, MetaData, String, Table, Text

revision, down_revision = "0001", None

SCHEMA = MetaData()

Table(
    "audit_entry",
    SCHEMA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False, index=True),
    Column("subject", String, nullable=False),
    Column("details", Text, nullable=False),
    Column("previous_hash", String, nullable=False, unique=True),
    Column("entry_hash", String, nullable=False),
)
Table(
    "forecast_record",
    SCHEMA,
    Column("forecast_id", String, primary_key=True),
    Column("model_id", String, nullable=False, index=True),
    Column("snapshot_id", String, nullable=False, index=True),
    Column("day", Date, nullable=False, index=True),
    Column("made_at", String(32), nullable=False),
    Column("requested_by", String, nullable=False),
    Column("sources", String, nullable=False),
    Column("energy_mwh", Float, nullable=False),
)
Table(
    "key_record",
    SCHEMA,
    Column("key_id", String, primary_key=True),
    Column("purpose", String, nullable=False, index=True),
    Column("owner", String, nullable=False, index=True),
    Column("public_key_hex", String, nullable=False),
    Column("state", String, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("changed_at", String(32), nullable=False),
    Column("changed_by", String, nullable=False),
    Column("reason", String, nullable=False),
)
Table(
    "lake_head",
    SCHEMA,
    Column("table_name", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("live_sha256", String, nullable=False),
    Column("at", String(32), nullable=False),
)
Table(
    "model_origin",
    SCHEMA,
    Column("model_id", String, primary_key=True),
    Column("snapshot_id", String, nullable=False, index=True),
)
Table(
    "model_record",
    SCHEMA,
    Column("model_id", String, primary_key=True),
    Column("role", String, nullable=False, index=True),
    Column("forecaster", String, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("snapshot_id", String, nullable=False, index=True),
    Column("weather_policy", String, nullable=False),
    Column("as_of", String(32), nullable=False),
    Column("published_at", String(32), nullable=False),
    Column("published_by", String, nullable=False),
)
Table(
    "quarantined_item",
    SCHEMA,
    Column("id", Integer, primary_key=True),
    Column("source", String, nullable=False, index=True),
    Column("reason", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("received_at", String(32), nullable=False),
)
Table(
    "recovery_record",
    SCHEMA,
    Column("recovery_id", String, primary_key=True),
    Column("provider", String, nullable=False, index=True),
    Column("asked", String, nullable=False),
    Column("state", String, nullable=False),
    Column("outcome", String, nullable=False, index=True),
    Column("plan", Text, nullable=False),
    Column("model_id", String, nullable=False),
    Column("golden", Text, nullable=False),
    Column("gates", Text, nullable=False),
    Column("judged_against", String, nullable=False),
    Column("withdrawn", Text, nullable=False),
    Column("seconds", Text, nullable=False),
    Column("problem", String, nullable=False),
    Column("started_at", String(32), nullable=False),
    Column("finished_at", String(32), nullable=True),
)
Table(
    "release_pin",
    SCHEMA,
    Column("row", Integer, primary_key=True),
    Column("bootstrap", String, nullable=False),
    Column("root", Integer, nullable=False),
    Column("targets", Integer, nullable=False),
    Column("snapshot", Integer, nullable=False),
    Column("timestamp", Integer, nullable=False),
)
Table(
    "snapshot_record",
    SCHEMA,
    Column("snapshot_id", String, primary_key=True),
    Column("as_of", String(32), nullable=False, index=True),
    Column("sources", String, nullable=False),
)
Table(
    "standing_event",
    SCHEMA,
    Column("id", Integer, primary_key=True),
    Column("provider", String, nullable=False, index=True),
    Column("at", String(32), nullable=False, index=True),
    Column("from_state", String, nullable=False),
    Column("to_state", String, nullable=False),
    Column("level", Integer, nullable=False),
    Column("onset", String(32), nullable=False),
    Column("by", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("statistic", Float, nullable=False),
)

_NOT_NEXT = "WHEN NEW.seq != (SELECT COALESCE(MAX(seq), 0) + 1 FROM audit_entry)"
_TRIGGERS = (
    ("UPDATE", "", "no entry may be changed"),
    ("DELETE", "", "no entry may be removed"),
    ("INSERT", _NOT_NEXT, "only the next entry may be added"),
)


def upgrade() -> None:
    """Make what is missing: a station of then has only the tables that it had come to use."""
    SCHEMA.create_all(op.get_bind())
    if op.get_bind().dialect.name == "sqlite":
        for moment, condition, why in _TRIGGERS:
            op.execute(
                f"CREATE TRIGGER IF NOT EXISTS audit_entry_refuse_{moment.lower()} BEFORE {moment} ON audit_entry "
                f"{condition} BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: {why}'); END"
            )


def downgrade() -> None:
    """Remove everything."""
    SCHEMA.drop_all(op.get_bind())
