"""Attacks on the recovery itself: the moment when everybody wants a new model in service, and quickly."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.schema import TEMPERATURE_C
from pipeline import promotion, registry
from pipeline.database import transaction
from pipeline.errors import GateFailed
from pipeline.ingest import load_readings
from pipeline.publish import open_model, read_model
from pipeline.recovery import run
from pipeline.recovery.gates import Gate
from pipeline.station import Station
from security.errors import ContentChanged
from security.sealed_bundle import SealedBundle
from tests.unit.pipeline import small_recovery
from tests.unit.pipeline.small_recovery import AMID, AT, opened, request


class Stopped(BaseException):
    """The moment at which the attacker acts."""


@pytest.fixture(scope="module")
def lied_to(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_recovery.build(tmp_path_factory.mktemp("attacked") / "built")


@pytest.fixture
def station(lied_to: Path, tmp_path: Path) -> Iterator[Station]:
    shutil.copytree(lied_to, tmp_path / "home")
    attacked = opened(tmp_path / "home")
    yield attacked
    attacked.engine.dispose()


def without_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_asked(station: Station, *_: Any) -> tuple[tuple[Gate, ...], str]:
        with transaction(station.engine) as session:
            return (), registry.active_id(session)

    monkeypatch.setattr(run, "judge", nothing_asked)


def in_service(station: Station) -> registry.ModelRecord:
    with transaction(station.engine) as session:
        return registry.active(session)


def alter_the_candidate(station: Station) -> SealedBundle:
    """Between training and promotion, the recovered model is changed on disk (AML.T0018); answers it as it was."""

    def trained(state: str) -> None:
        if state == "trained":
            raise Stopped

    with pytest.raises(Stopped):
        small_recovery.run(station, reached=trained)
    with transaction(station.engine) as session:
        (candidate,) = [entry for entry in registry.listing(session) if entry.state == registry.CANDIDATE]
    before = read_model(station, candidate.model_id)
    path = station.models / candidate.model_id / "model.json.sealed"
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    return before


def test_without_gates_an_altered_model_is_put_in_service(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    before = alter_the_candidate(station)
    without_gates(monkeypatch)
    # Operators open what they approve: here they take somebody's word for it.
    monkeypatch.setattr(promotion, "read_model", lambda *_: before)
    report = small_recovery.run(station)
    assert in_service(station).model_id == report.model_id
    # The service would find nothing that it may load.
    with pytest.raises(ContentChanged):
        open_model(station, report.model_id)


def test_without_gates_operators_still_do_not_approve_what_does_not_open(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter_the_candidate(station)
    without_gates(monkeypatch)
    with pytest.raises(ContentChanged, match=r"model\.json"):
        small_recovery.run(station)
    assert in_service(station).as_of == AMID


def test_an_altered_model_is_stopped_before_it_serves(station: Station) -> None:
    alter_the_candidate(station)
    with pytest.raises(GateFailed, match="golden"):
        small_recovery.run(station)
    serving = in_service(station)
    assert serving.as_of == AMID
    open_model(station, serving.model_id)


def recover_while_the_others_rave(station: Station) -> Any:
    """Who is believed instead of the revoked one lies too, without any pattern (AML.T0020)."""
    readings = load_readings(station)
    raving = 10.0 + 15.0 * np.sin(np.arange(len(readings.weather)))
    honest = readings.weather["provider"] == small_recovery.LIAR
    told = readings.weather.assign(temperature_c=readings.weather[TEMPERATURE_C].where(honest, raving))
    return run.recover(station, replace(readings, weather=told), request(since="2023-05-20"), clock=lambda: AT)


def test_without_gates_a_model_of_nonsense_is_put_in_service(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    without_gates(monkeypatch)
    report = recover_while_the_others_rave(station)
    assert in_service(station).model_id == report.model_id


def test_a_model_of_nonsense_is_stopped_by_the_days_it_has_not_seen(station: Station) -> None:
    with pytest.raises(GateFailed, match="backtest"):
        recover_while_the_others_rave(station)
    assert in_service(station).as_of == AMID
