"""The schema goes up and down on both kinds of databases, keeps every row, and ends where the tables of today are."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, MetaData, Table, inspect, text
from sqlalchemy.exc import DatabaseError
from sqlmodel import SQLModel

from pipeline.database import connect, make_engine, transaction, version_of
from pipeline.errors import DatabaseBehind, DatabaseNewer, DatabaseOutdated, PipelineError
from pipeline.migrate import FIRST, bring_up_to_date, known_versions, take_back
from pipeline.migrations import NEWEST
from pipeline.migrations.versions.v0001_before_the_service import SCHEMA
from security.audit_check import verify_log
from security.audit_log import append

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("data", "forecasting", "pipeline", "security")
NOW = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[Engine]:
    """Connected to an empty database of each kind."""
    made = connect(database_url, tmp_path)
    yield made
    made.dispose()


def tables_of_today() -> MetaData:
    """Of every module of the house that has one."""
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            if ", table=True)" in path.read_text(encoding="utf-8"):
                importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return SQLModel.metadata


def tables_in(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def triggers_in(engine: Engine) -> set[str]:
    where = {
        "sqlite": "SELECT tbl_name || ' ' || sql FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT pg_get_triggerdef(oid) || prosrc FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid",
    }
    if engine.dialect.name == "postgresql":
        where["postgresql"] = where["postgresql"].replace("(oid)", "(pg_trigger.oid)")
    with engine.connect() as connection:
        return {" ".join(row[0].split()) for row in connection.execute(text(where[engine.dialect.name]))}


def differences(engine: Engine, wanted: MetaData) -> list[Any]:
    with engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), wanted)


def a_row(table: Table) -> dict[str, object]:
    values: dict[type, object] = {int: 1, float: 0.5, str: "2024-03-01T00:00:00.000000+00:00", date: date(2024, 3, 1)}
    return {column.name: values[column.type.python_type] for column in table.columns}


def station_of_before(engine: Engine) -> dict[str, list[Any]]:
    """The tables of issue 6 as that Gridward made them, a row in each; what stands in them."""
    with engine.begin() as connection:
        SCHEMA.create_all(connection)
        for table in SCHEMA.sorted_tables:
            connection.execute(table.insert().values(a_row(table)))
    return rows_of_before(engine)


def rows_of_before(engine: Engine) -> dict[str, list[Any]]:
    with engine.connect() as connection:
        return {table.name: list(connection.execute(table.select())) for table in SCHEMA.sorted_tables}


def test_the_newest_version_is_the_one_that_the_code_works_on():
    assert known_versions()[0] == FIRST
    assert known_versions()[-1] == NEWEST


def test_the_schema_that_the_versions_make_is_that_of_todays_tables(engine: Engine):
    bring_up_to_date(engine, may_upgrade=True)
    assert differences(engine, tables_of_today()) == []
    assert version_of(engine) == NEWEST


def test_the_versions_make_the_triggers_that_todays_tables_have(engine: Engine):
    bring_up_to_date(engine, may_upgrade=True)
    migrated, made = triggers_in(engine), tables_in(engine)
    with engine.begin() as connection:
        for table in made:
            connection.execute(text(f"DROP TABLE {table}"))
        tables_of_today().create_all(connection)
    assert migrated == triggers_in(engine)
    assert migrated


def test_every_version_goes_down_and_up_again(engine: Engine):
    bring_up_to_date(engine, may_upgrade=True)
    for version in reversed(known_versions()[:-1]):
        take_back(engine, version)
        assert version_of(engine) == version
    assert tables_in(engine) == {table.name for table in SCHEMA.sorted_tables} | {"alembic_version"}
    assert differences(engine, SCHEMA) == []
    bring_up_to_date(engine, may_upgrade=True)
    assert differences(engine, tables_of_today()) == []


def test_a_station_of_before_is_taken_over_with_every_row_and_can_go_back(engine: Engine):
    before = station_of_before(engine)
    assert version_of(engine) is None
    bring_up_to_date(engine, may_upgrade=True)
    assert rows_of_before(engine) == before
    take_back(engine, FIRST)
    assert rows_of_before(engine) == before


def test_a_station_of_before_that_used_few_of_its_tables_gets_the_others(engine: Engine):
    with engine.begin() as connection:
        SCHEMA.create_all(connection, tables=[SCHEMA.tables["key_record"], SCHEMA.tables["audit_entry"]])
    bring_up_to_date(engine, may_upgrade=True)
    assert differences(engine, tables_of_today()) == []


def test_the_log_goes_on_where_it_was_through_an_upgrade(engine: Engine):
    bring_up_to_date(engine, may_upgrade=True)
    take_back(engine, FIRST)
    bring_up_to_date(engine, may_upgrade=True)
    with transaction(engine) as session:
        for cups in range(3):
            append(session, actor="ann", action="tea.made", subject="pot", details={"cups": cups}, at=NOW)
    with transaction(engine) as session:
        assert verify_log(session, []) == 3


def test_a_database_older_than_every_version_is_refused_and_left_alone(engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE key_record (key_id VARCHAR)"))
    with pytest.raises(DatabaseOutdated, match="key_record lacks") as refusal:
        bring_up_to_date(engine, may_upgrade=True)
    assert "public_key_hex" in refusal.value.columns
    assert tables_in(engine) == {"key_record"}


def test_a_database_of_a_newer_gridward_is_refused_in_one_line(engine: Engine):
    bring_up_to_date(engine, may_upgrade=True)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for refused in (lambda: bring_up_to_date(engine, may_upgrade=True), lambda: take_back(engine, FIRST)):
        with pytest.raises(DatabaseNewer, match="9999, of a newer Gridward") as refusal:
            refused()
        assert "\n" not in str(refusal.value)


def test_an_older_database_waits_for_who_may_upgrade_it(engine: Engine):
    before = station_of_before(engine)
    with pytest.raises(DatabaseBehind, match="gridward database upgrade"):
        bring_up_to_date(engine, may_upgrade=False)
    assert rows_of_before(engine) == before
    assert version_of(engine) is None


def test_an_empty_database_is_made_even_by_who_may_not_upgrade(engine: Engine):
    bring_up_to_date(engine, may_upgrade=False)
    assert version_of(engine) == NEWEST


@pytest.mark.parametrize("to", ["0009", NEWEST])
def test_back_is_only_to_an_older_version(engine: Engine, to: str):
    bring_up_to_date(engine, may_upgrade=True)
    with pytest.raises(PipelineError, match="is not older than"):
        take_back(engine, to)


def test_a_step_that_fails_leaves_the_database_as_it_was(engine: Engine):
    station_of_before(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE INDEX ix_revoked_token_until ON lake_head (at)"))
    before = tables_in(engine)
    with pytest.raises(DatabaseError):
        bring_up_to_date(engine, may_upgrade=True)
    assert tables_in(engine) == before
    assert version_of(engine) is None


def test_many_who_open_it_at_once_find_it_made_once(database_url: str, tmp_path: Path):
    failures: list[Exception] = []
    start = threading.Barrier(4)

    def open_it() -> None:
        engine = connect(database_url, tmp_path, 20.0)
        start.wait()
        try:
            bring_up_to_date(engine, may_upgrade=True)
        except Exception as error:
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_who_opens_a_database_that_is_up_to_date_does_without_alembic(tmp_path: Path):
    make_engine("", tmp_path).dispose()
    opened = (
        "import sys; from pathlib import Path; from pipeline.database import make_engine; "
        "make_engine('', Path(sys.argv[1])).dispose(); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", opened, str(tmp_path)], cwd=ROOT, check=False).returncode == 0
