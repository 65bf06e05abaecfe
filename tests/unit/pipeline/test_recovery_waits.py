"""A recovery where operators decide: it waits for them, and goes on once they did."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import registry
from pipeline.attest import GATES, attest_gates, gates_in
from pipeline.database import transaction
from pipeline.errors import GateFailed, ModelWaits, PipelineError
from pipeline.promotion import approve, promote
from pipeline.publish import TRIED, attested, read_model
from pipeline.recovery import gates as gates_of
from pipeline.recovery import run
from pipeline.releases import believed
from pipeline.station import Station
from security.bundle_keys import bundle_context
from security.sealed_bundle import KEY_FILE, add_attestation, id_of
from tests.unit.pipeline import small_recovery
from tests.unit.pipeline.republish import AT, hand_over, states


def in_force(station: Station) -> str:
    return id_of(believed(station).by_role["main"].model)


@pytest.fixture(scope="module")
def built_lied_to(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_recovery.build(tmp_path_factory.mktemp("lied-to") / "built")


@pytest.fixture
def lied(built_lied_to: Path, tmp_path: Path) -> Iterator[Station]:
    shutil.copytree(built_lied_to, tmp_path / "lied")
    station = small_recovery.opened(tmp_path / "lied")
    yield station
    station.engine.dispose()


def test_a_recovery_waits_for_the_operators_and_goes_on_after_the_promotion(lied: Station) -> None:
    operators = hand_over(lied)
    with transaction(lied.engine) as session:
        lying = registry.active_id(session)
    for _ in range(2):
        with pytest.raises(ModelWaits) as waits:
            small_recovery.run(lied)
    recovered = waits.value.model_id
    assert states(lied)[recovered] == registry.CANDIDATE
    assert in_force(lied) == lying
    gates = gates_in(attested(lied, read_model(lied, recovered)))
    assert [gate.name for gate in gates] == ["tried", "backtest", "mild hours", "golden"]
    for name in ("ann", "bob"):
        approve(lied, recovered, operators[name], at=AT)
    promote(lied, recovered, by="ann", at=AT)
    report = small_recovery.run(lied)
    assert (report.outcome, report.model_id) == ("done", recovered)
    assert states(lied)[recovered] == registry.ACTIVE
    assert states(lied)[lying] == registry.REVOKED


def test_a_recovery_that_operators_approved_is_promoted_by_going_on(lied: Station) -> None:
    operators = hand_over(lied)
    with pytest.raises(ModelWaits) as waits:
        small_recovery.run(lied)
    for name in ("ann", "cy"):
        approve(lied, waits.value.model_id, operators[name], at=AT)
    assert small_recovery.run(lied).outcome == "done"
    assert in_force(lied) == waits.value.model_id


def test_a_recovered_model_that_failed_its_gates_is_approved_by_nobody(
    lied: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    operators = hand_over(lied)

    def stricter(*arguments: object) -> object:
        gates, against = gates_of.judge(*arguments)  # type: ignore[arg-type]
        return tuple(type(gate)(**{**vars(gate), "verdict": "failed"}) for gate in gates), against

    monkeypatch.setattr(run, "judge", stricter)
    with pytest.raises(GateFailed):
        small_recovery.run(lied)
    (candidate,) = [model_id for model_id, state in states(lied).items() if state == registry.CANDIDATE]
    with pytest.raises(PipelineError, match="failed: backtest, golden, mild hours"):
        approve(lied, candidate, operators["ann"], at=AT)
    # Whoever can write to the disk puts the statement back that was true before the gates were asked.
    bundle = read_model(lied, candidate)
    older = attest_gates(bundle.digest, candidate, [TRIED], lied.signers["model"])
    folder = lied.models / candidate
    cipher = lied.chest.cipher_of(folder / KEY_FILE, bundle_context(candidate))
    add_attestation(folder, candidate, GATES, older, cipher)
    assert attested(lied, read_model(lied, candidate)).gates["result"] == "PASSED"
    with pytest.raises(PipelineError, match="failed: backtest, golden, mild hours"):
        approve(lied, candidate, operators["ann"], at=AT)
