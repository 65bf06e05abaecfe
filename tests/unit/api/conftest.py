"""One small station for the session; each test that changes something works on its own copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.api.small_station import Service, build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("station") / "built")


@pytest.fixture(scope="session")
def shared(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """For tests that leave nothing behind that another could notice."""
    return Service.at(built, tmp_path_factory.mktemp("shared") / "home")


@pytest.fixture
def service(built: Path, tmp_path: Path) -> Service:
    return Service.at(built, tmp_path / "home")
