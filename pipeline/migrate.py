"""Bring a database from the schema that an older Gridward made to the one that this code works on, or back.

One process does it, in one transaction under the write lock; the others wait for it and then find it done. Both SQLite and
PostgreSQL undo a transaction that changed the schema, so a step that fails leaves the database as it was.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

from pipeline.errors import DatabaseBehind, DatabaseNewer, DatabaseOutdated, PipelineError
from pipeline.migrations import NEWEST
from pipeline.migrations.versions.v0001_before_the_service import SCHEMA, revision

FIRST = revision
_VERSIONS = "alembic_version"


def known_versions() -> list[str]:
    """Every version of the schema, oldest first."""
    return [script.revision for script in reversed(list(ScriptDirectory.from_config(_config()).walk_revisions()))]


def bring_up_to_date(engine: Engine, *, may_upgrade: bool) -> None:
    """Make the schema of an empty database, or bring an older one up to date.

    Raises DatabaseNewer, DatabaseOutdated (older than the first version that is known), DatabaseBehind when it may not be
    upgraded.
    """
    with engine.begin() as connection:
        found = _version_here(connection)
        older = found is not None or inspect(connection).has_table("key_record")
        if found == NEWEST:
            return
        if found is not None:
            _require_known(found)
        elif older:
            _require_first(connection)
        if older and not may_upgrade:
            raise DatabaseBehind(found or FIRST, NEWEST)
        command.upgrade(_config(connection), NEWEST)


def take_back(engine: Engine, to: str) -> None:
    """Bring the database to an older version of the schema, for an older Gridward: what only newer ones know is lost.

    Raises PipelineError for a version that is not an older one, DatabaseNewer.
    """
    with engine.begin() as connection:
        found = _version_here(connection)
        _require_known(found or "")
        older = known_versions()[: known_versions().index(found or "")]
        if to not in older:
            raise PipelineError(
                f"version {to} is not older than {found}",
                where="database",
                mend=f"choose one of {', '.join(older) or 'none'}",
            )
        command.downgrade(_config(connection), to)


def _version_here(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSIONS):
        return None
    found: str | None = connection.exec_driver_sql(f"SELECT version_num FROM {_VERSIONS}").scalar()  # noqa: S608 (our own)
    return found


def _require_first(connection: Connection) -> None:
    there = inspect(connection)
    for table in SCHEMA.sorted_tables:
        if there.has_table(table.name):
            missing = set(table.columns.keys()) - {column["name"] for column in there.get_columns(table.name)}
            if missing:
                raise DatabaseOutdated(table.name, sorted(missing))


def _require_known(version: str) -> None:
    if version not in known_versions():
        raise DatabaseNewer(version, NEWEST)


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
