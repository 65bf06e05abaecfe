"""Triggers by which the database itself refuses anything but the next row: they stop mistakes and stray code.

A table of this kind is numbered from 1 in `seq`. Whoever owns the database can take its triggers away; what that would
hide, the hashes and signed heads of `audit_log` show.
"""

from __future__ import annotations

from sqlalchemy import DDL, Table, event

_APPEND_ONLY = "the audit log is append-only"
_NO_CHANGE, _NO_REMOVAL, _ONLY_NEXT = (
    f"{_APPEND_ONLY}: no entry may be changed",
    f"{_APPEND_ONLY}: no entry may be removed",
    f"{_APPEND_ONLY}: only the next entry may be added",
)


def refuse_anything_but_appending(table: Table) -> None:
    """Make the triggers wherever this table is made, on SQLite and PostgreSQL."""
    for dialect in ("sqlite", "postgresql"):
        for statement in triggers_of(table.name, dialect):
            ddl = DDL(statement)  # type: ignore[no-untyped-call]  # SQLAlchemy leaves its constructor untyped
            event.listen(table, "after_create", ddl.execute_if(dialect=dialect))


def triggers_of(table: str, dialect: str) -> list[str]:
    """The statements that make the triggers of a table, for `sqlite` or `postgresql`; a migration runs them."""
    return _on_sqlite(table) if dialect == "sqlite" else _on_postgresql(table)


def _on_sqlite(table: str) -> list[str]:
    # INSERT OR REPLACE removes rows without asking the DELETE trigger: the INSERT trigger refuses it.
    not_next = f"WHEN NEW.seq != (SELECT COALESCE(MAX(seq), 0) + 1 FROM {table})"  # noqa: S608 (a table's own name)
    refused = (("UPDATE", "", _NO_CHANGE), ("DELETE", "", _NO_REMOVAL), ("INSERT", not_next, _ONLY_NEXT))
    return [
        f"CREATE TRIGGER IF NOT EXISTS {table}_refuse_{moment.lower()} BEFORE {moment} ON {table} {condition} "
        f"BEGIN SELECT RAISE(ABORT, '{why}'); END"
        for moment, condition, why in refused
    ]


def _on_postgresql(table: str) -> list[str]:
    """One check a statement, not a row: a batch of hundreds costs what one entry does.

    By the index alone, however long the log is: a plan made while it was short would read all of it for ever.
    """
    not_next = (
        f"high - low + 1 <> many OR high <> (SELECT max(seq) FROM {table}) "  # noqa: S608 (as above)
        f"OR low <> 1 AND NOT EXISTS (SELECT 1 FROM {table} WHERE seq = low - 1)"
    )
    return [
        f"CREATE OR REPLACE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'UPDATE' THEN RAISE EXCEPTION '{_NO_CHANGE}'; END IF; RAISE EXCEPTION '{_NO_REMOVAL}'; END $$",
        f"CREATE OR REPLACE FUNCTION {table}_next() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$ "  # noqa: S608 (as above)
        "DECLARE low bigint; high bigint; many bigint; BEGIN "
        "SELECT min(seq), max(seq), count(*) INTO low, high, many FROM added; "
        f"IF many > 0 AND ({not_next}) THEN RAISE EXCEPTION '{_ONLY_NEXT}'; END IF; RETURN NULL; END $$",
        f"CREATE OR REPLACE TRIGGER {table}_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()",
        f"CREATE OR REPLACE TRIGGER {table}_refuse_insert AFTER INSERT ON {table} REFERENCING NEW TABLE AS added "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_next()",
    ]
