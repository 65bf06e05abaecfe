"""Real servers for tests: a fresh PostgreSQL database and a fresh Redis each, gone after the test.

Where the servers are not there, a test is skipped with the reason; under CI, it fails. GRIDWARD_TEST_DATABASE_URL and
GRIDWARD_TEST_REDIS_URL name other servers; of PostgreSQL, the user must be allowed to create databases.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pg8000
import pg8000.exceptions
import pytest
import redis
from sqlalchemy import URL, Pool, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.private_stores import NoServer, PrivateServer, private_postgresql, private_redis

POSTGRESQL = os.environ.get("GRIDWARD_TEST_DATABASE_URL", "postgresql://root@127.0.0.1:5432/postgres")
REDIS = os.environ.get("GRIDWARD_TEST_REDIS_URL", "redis://127.0.0.1:6379")
# A test that was killed gives its number of a Redis back after this.
_LEASE_SECONDS = 300


def without(server: str, why: object) -> None:
    """Skip the test, or fail it under CI."""
    first_line = str(why).splitlines()[0] if str(why) else type(why).__name__
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {server}: {first_line}")


@pytest.fixture(scope="session")
def postgresql_database() -> Iterator[URL]:
    """A database of this process's own, gone at its end: making one and removing it takes seconds on a slow disk."""
    server = make_url(POSTGRESQL).set(drivername="postgresql+pg8000")
    name = f"gridward_test_{uuid.uuid4().hex[:12]}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
            # Nothing here outlives a crash anyway.
            connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    except SQLAlchemyError as error:
        without("PostgreSQL", error)
    yield server.set(database=name)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def postgresql_url(postgresql_database: URL) -> Iterator[str]:
    """The URL of an empty database; what a test leaves open to it is closed, for a forgotten socket fails another test."""
    admin = create_engine(postgresql_database, isolation_level="AUTOCOMMIT")
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid != pg_backend_pid()"
    with admin.connect() as connection:
        # What an earlier test left open would keep its tables.
        connection.execute(text(others), {"name": postgresql_database.database})
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    admin.dispose()
    opened: list[pg8000.Connection] = []

    def keep(connection: object, _record: object) -> None:
        if isinstance(connection, pg8000.Connection):
            opened.append(connection)

    event.listen(Pool, "connect", keep)
    yield postgresql_database.set(drivername="postgresql").render_as_string(hide_password=False)
    event.remove(Pool, "connect", keep)
    for connection in opened:
        # One that was closed says so, in words of its own.
        with contextlib.suppress(pg8000.exceptions.Error, OSError):
            connection.close()


@pytest.fixture
def redis_url() -> Iterator[str]:
    """The URL of an empty database of a Redis, which no other test uses meanwhile."""
    with redis.Redis.from_url(REDIS) as leases:
        try:
            number = next(n for n in range(1, 16) if leases.set(f"gridward-test:{n}", 1, nx=True, ex=_LEASE_SECONDS))
        except redis.RedisError as error:
            without("Redis", error)
        url = f"{REDIS}/{number}"
        with redis.Redis.from_url(url) as own:
            own.flushdb()
            yield url
            own.flushdb()
        leases.delete(f"gridward-test:{number}")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind, in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def own_redis() -> Iterator[PrivateServer]:
    """A Redis that the test may kill and start again; it keeps nothing."""
    try:
        with private_redis() as server:
            yield server
    except NoServer as why:
        without("Redis of one's own", why)


@pytest.fixture
def own_postgresql() -> Iterator[PrivateServer]:
    """A PostgreSQL that the test may kill and start again."""
    try:
        with private_postgresql() as server:
            yield server
    except NoServer as why:
        without("PostgreSQL of one's own", why)
