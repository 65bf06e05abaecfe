"""`gridward database status`, `upgrade`, `downgrade`: the version of the database's schema."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy import Engine

from api.console import ACTOR, open_own_station, open_settings
from api.output import AsJson, print_facts, print_json
from pipeline.database import DATABASE, PATIENCE_SECONDS, connect, version_of
from pipeline.migrations import NEWEST
from pipeline.station import note
from security.errors import UnavailableError

# A step may rewrite the whole audit log.
_STEP_SECONDS = 3600.0


def status(as_json: AsJson = False) -> None:
    """Show which database it is, the version of its schema, and the versions that this Gridward knows. Changes nothing."""
    from pipeline.migrate import known_versions  # noqa: PLC0415 (brings Alembic, which other commands do without)

    engine = _own_database()
    found = version_of(engine)
    facts = {
        "kind": engine.dialect.name,
        "where": engine.url.render_as_string(hide_password=True),
        "version": found,
        "newest": NEWEST,
        "up_to_date": found == NEWEST,
        "known": known_versions(),
    }
    if as_json:
        print_json(facts)
    else:
        print_facts("Database", {**facts, "version": found or "none", "known": ", ".join(known_versions())})


def upgrade(as_json: AsJson = False) -> None:
    """Bring the schema up to date, keeping every row; make it in an empty database."""
    from pipeline.migrate import bring_up_to_date  # noqa: PLC0415 (as above)

    engine = _own_database(_STEP_SECONDS)
    before = version_of(engine)
    bring_up_to_date(engine, may_upgrade=True)
    _tell(before, NEWEST, as_json)


def downgrade(
    version: Annotated[str, typer.Argument(help="The older version, as `gridward database status` lists them.")],
    as_json: AsJson = False,
) -> None:
    """Take the schema back for an older Gridward. What only newer ones keep is lost: revoked tokens, API keys, jobs."""
    from pipeline.migrate import take_back  # noqa: PLC0415 (as above)

    station = open_own_station()
    before = version_of(station.engine)
    details = {"from": before, "to": version}
    note(station, actor=ACTOR, action="database.downgraded", subject="database", details=details, at=datetime.now(UTC))
    take_back(_own_database(_STEP_SECONDS), version)
    _tell(before, version, as_json)


def _own_database(patience_seconds: float = PATIENCE_SECONDS) -> Engine:
    settings = open_settings()
    url = settings.database_url.get_secret_value()
    if not url and not (settings.home / DATABASE).exists():
        raise UnavailableError("no database", where=str(settings.home), mend="make a station first, with `gridward train`")
    return connect(url, settings.home, patience_seconds)


def _tell(before: str | None, after: str, as_json: bool) -> None:
    if as_json:
        print_json({"from": before, "to": after})
    else:
        typer.echo(f"the schema was {before or 'not there'}, it is {after}")
