"""Two workers on PostgreSQL and Redis, which are killed under load: no wrong answer, no lost entry, no second budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.api_processes import environment_for
from benchmarks.private_stores import PrivateServer
from benchmarks.store_accidents import Trial, accidents, under_accidents
from tests.unit.api.small_station import LAST_DAY, build

BUDGET = 60


def test_stores_that_are_killed_cost_no_entry_and_give_no_second_budget(
    own_postgresql: PrivateServer, own_redis: PrivateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    stores = {"GRIDWARD_DATABASE_URL": own_postgresql.url, "GRIDWARD_REDIS_URL": own_redis.url}
    for name, value in stores.items():
        monkeypatch.setenv(name, value)
    build(home)
    environment = environment_for(home, stores | {"GRIDWARD_RATE_LIMIT_PER_MINUTE": str(BUDGET)})
    killed = [one for one in accidents(own_postgresql, own_redis) if one.name.endswith(" killed")][:2]
    report = under_accidents(Trial(home, str(LAST_DAY), workers=2, outage=1.5, calm=6.0), environment, killed)
    assert report.holds, report
    assert report.good > 20
    assert all(one.statuses.get("503") for one in report.accidents), report
    assert report.most_in_a_minute > BUDGET / 2
