"""A model comes into service when two of three operators said so, and in no other way."""

from __future__ import annotations

import json

import pytest

from pipeline import promotion, registry
from pipeline.attest import GateResult
from pipeline.database import transaction
from pipeline.errors import ModelWaits, PipelineError
from pipeline.ingest import load_readings
from pipeline.promotion import (
    DEMO_OPERATORS,
    approve,
    chest_name,
    ensure_founded,
    keeps_demo_operators,
    promote,
    promote_unattended,
    waiting,
    withdraw,
)
from pipeline.publish import OpenedModel, attest_judged
from pipeline.release_pins import pinned
from pipeline.releases import believed, follow_releases, repository_of
from pipeline.serving import Serving
from pipeline.station import Station
from pipeline.train import train
from security.errors import ContentChanged
from security.releases import NotAnOperator, ReleaseConflict
from security.sealed_bundle import id_of
from security.signing import Signer, new_signer
from tests.unit.api import small_station
from tests.unit.pipeline.republish import (
    AT,
    BY,
    acts,
    candidate_again,
    demo_operators,
    hand_over,
    in_service_again,
    states,
)


@pytest.fixture
def operators(linear: Station) -> dict[str, Signer]:
    """Ann, Bob and Cy decide about the releases of `linear`."""
    return hand_over(linear)


def in_force(station: Station) -> str:
    return id_of(believed(station).by_role["main"].model)


def test_two_of_three_operators_put_a_model_in_service(
    linear: Station, linear_model: OpenedModel, operators: dict[str, Signer]
) -> None:
    model_id = candidate_again(linear, linear_model, "s-2")
    one = approve(linear, model_id, operators["ann"], at=AT)
    assert (one.signed_by, one.approved, one.model_id, one.role) == (("ann",), False, model_id, "main")
    assert set(one.waiting_for) == {"bob", "cy"}
    two = approve(linear, model_id, operators["cy"], at=AT)
    assert (two.signed_by, two.approved) == (("ann", "cy"), True)
    assert waiting(linear) == two
    assert in_force(linear) == linear_model.model_id
    assert promote(linear, model_id, by=BY, at=AT).state == registry.ACTIVE
    assert in_force(linear) == model_id
    assert states(linear) == {linear_model.model_id: registry.RETIRED, model_id: registry.ACTIVE}
    assert waiting(linear) is None
    noted = [json.loads(entry.details) for entry in acts(linear, "model.approved") if entry.subject == model_id]
    assert [entry["signed_by"] for entry in noted] == [["ann"], ["ann", "cy"]]
    assert acts(linear, "model.activated")[-1].actor == BY
    # Any further word of it changes nothing.
    assert promote(linear, model_id, by=BY, at=AT).state == registry.ACTIVE
    assert Serving(linear).active_model_id == model_id


def test_one_operator_alone_waits_and_is_told_what_to_run(
    linear: Station, linear_model: OpenedModel, operators: dict[str, Signer]
) -> None:
    model_id = candidate_again(linear, linear_model, "s-2")
    with pytest.raises(ModelWaits, match="approved by nobody"):
        promote(linear, model_id, by=BY, at=AT)
    approve(linear, model_id, operators["ann"], at=AT)
    with pytest.raises(ModelWaits, match="waits for 2 operators, approved by ann") as waits:
        promote(linear, model_id, by=BY, at=AT)
    assert (waits.value.signed_by, waits.value.needed, waits.value.exit_code) == (("ann",), 2, 7)
    assert f"gridward registry approve {model_id}" in waits.value.mend
    assert f"gridward registry promote {model_id}" in waits.value.mend
    assert in_force(linear) == linear_model.model_id
    assert states(linear)[model_id] == registry.CANDIDATE


def test_the_same_operator_twice_counts_once(
    linear: Station, linear_model: OpenedModel, operators: dict[str, Signer]
) -> None:
    model_id = candidate_again(linear, linear_model, "s-2")
    for _ in range(3):
        said = approve(linear, model_id, operators["ann"], at=AT)
    assert (said.signed_by, said.approved) == (("ann",), False)
    with pytest.raises(ModelWaits):
        promote(linear, model_id, by=BY, at=AT)


def test_a_strangers_key_is_denied_and_the_denial_is_noted(
    linear: Station, linear_model: OpenedModel, operators: dict[str, Signer]
) -> None:
    model_id = candidate_again(linear, linear_model, "s-2")
    approve(linear, model_id, operators["ann"], at=AT)
    strangers = (new_signer(), linear.signers["model"], linear.signers["registry"], *demo_operators(linear))
    for stranger in strangers:
        with pytest.raises(NotAnOperator):
            approve(linear, model_id, stranger, at=AT)
    denied = acts(linear, "access.denied")
    assert [entry.actor for entry in denied] == [f"key {stranger.key_id}" for stranger in strangers]
    assert {entry.subject for entry in denied} == {model_id}
    found = waiting(linear)
    assert found is not None
    assert found.signed_by == ("ann",)


def test_a_model_that_failed_a_gate_is_approved_by_nobody(
    linear: Station, linear_model: OpenedModel, operators: dict[str, Signer]
) -> None:
    model_id = candidate_again(linear, linear_model, "s-2")
    attest_judged(linear, model_id, [GateResult("backtest", "failed", "worse than what serves")])
    with pytest.raises(PipelineError, match="failed: backtest"):
        approve(linear, model_id, operators["ann"], at=AT)
    assert waiting(linear) is None


def test_operators_sign_nothing_that_does_not_open(
    linear: Station, linear_model: OpenedModel, operators: dict[str, Signer]
) -> None:
    model_id = candidate_again(linear, linear_model, "s-2")
    path = linear.models / model_id / "golden.json.sealed"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ContentChanged, match=r"golden\.json"):
        approve(linear, model_id, operators["ann"], at=AT)
    with pytest.raises(PipelineError, match="unknown"):
        approve(linear, "0" * 16, operators["ann"], at=AT)
    assert waiting(linear) is None


def test_a_retired_model_comes_back_only_as_a_newly_approved_release(
    linear: Station, linear_model: OpenedModel, operators: dict[str, Signer]
) -> None:
    old, newer = linear_model.model_id, candidate_again(linear, linear_model, "s-2")
    for model_id in (newer, old):
        # Also the one that was approved once: that approval was for another version.
        with pytest.raises(ModelWaits):
            promote(linear, model_id, by=BY, at=AT)
        for name in ("ann", "bob"):
            approve(linear, model_id, operators[name], at=AT)
        promote(linear, model_id, by=BY, at=AT)
        assert in_force(linear) == model_id
    assert states(linear) == {old: registry.ACTIVE, newer: registry.RETIRED}
    assert Serving(linear).active_model_id == old


def test_a_revoked_model_comes_back_by_nobodys_approval(
    linear: Station, linear_model: OpenedModel, operators: dict[str, Signer]
) -> None:
    model_id = candidate_again(linear, linear_model, "s-2")
    for name in ("ann", "bob"):
        approve(linear, model_id, operators[name], at=AT)
    withdraw(linear, model_id, registry.REVOKED, by=BY, reason="learned from a lie", at=AT)
    with pytest.raises(PipelineError, match="is revoked"):
        promote(linear, model_id, by=BY, at=AT)
    with pytest.raises(PipelineError, match="is revoked"):
        approve(linear, model_id, operators["cy"], at=AT)
    assert in_force(linear) == linear_model.model_id
    assert json.loads(acts(linear, "model.revoked")[-1].details) == {"reason": "learned from a lie"}


def test_what_is_in_service_is_replaced_and_not_withdrawn(linear: Station, linear_model: OpenedModel) -> None:
    for state in (registry.RETIRED, registry.REVOKED):
        with pytest.raises(PipelineError, match="promote another one"):
            withdraw(linear, linear_model.model_id, state, by=BY, reason="x", at=AT)
    assert states(linear) == {linear_model.model_id: registry.ACTIVE}


def test_another_proposal_is_not_overwritten_unasked(
    linear: Station, linear_model: OpenedModel, operators: dict[str, Signer]
) -> None:
    one, other = (candidate_again(linear, linear_model, name) for name in ("s-2", "s-3"))
    approve(linear, one, operators["ann"], at=AT)
    with pytest.raises(ReleaseConflict):
        approve(linear, other, operators["bob"], at=AT)
    found = waiting(linear)
    assert found is not None
    assert found.model_id == one
    approve(linear, other, operators["bob"], at=AT, replace=True)
    with pytest.raises(ModelWaits):
        promote(linear, one, by=BY, at=AT)
    assert approve(linear, other, operators["cy"], at=AT).approved
    promote(linear, other, by=BY, at=AT)
    assert in_force(linear) == other


def test_killed_after_the_release_the_same_command_enters_it(
    linear: Station, linear_model: OpenedModel, operators: dict[str, Signer]
) -> None:
    model_id = candidate_again(linear, linear_model, "s-2")
    for name in ("ann", "bob"):
        approve(linear, model_id, operators[name], at=AT)
    promotion.publish_release(linear, model_id)
    assert states(linear)[model_id] == registry.CANDIDATE
    promote(linear, model_id, by=BY, at=AT)
    assert states(linear) == {linear_model.model_id: registry.RETIRED, model_id: registry.ACTIVE}


def test_a_demo_station_promotes_unattended_and_says_so(linear: Station, linear_model: OpenedModel) -> None:
    assert keeps_demo_operators(linear)
    model_id = in_service_again(linear, linear_model, "s-2")
    assert in_force(linear) == model_id
    (founded,) = acts(linear, "registry.founded")
    assert "a demonstration" in founded.details
    approvals = [entry for entry in acts(linear, "model.approved") if entry.subject == model_id]
    keys = [f"key {signer.key_id}" for signer in demo_operators(linear)[:2]]
    assert [entry.actor for entry in approvals] == keys


def test_what_is_in_force_is_not_approved_again(linear: Station, linear_model: OpenedModel) -> None:
    before = believed(linear).versions
    assert promote_unattended(linear, linear_model.model_id, by=BY, at=AT)
    assert believed(linear).versions == before


def test_a_repository_that_was_never_pinned_is_founded_anew(empty_station: Station) -> None:
    folder = repository_of(empty_station)
    # What a killed process left, or somebody put there before the station's first model.
    (folder / "metadata").mkdir(parents=True)
    (folder / "metadata" / "timestamp.json").write_text("{}")
    ensure_founded(empty_station, by=BY, at=AT)
    assert believed(empty_station).by_role == {}
    with transaction(empty_station.engine) as session:
        first = pinned(session)
    ensure_founded(empty_station, by=BY, at=AT)
    with transaction(empty_station.engine) as session:
        assert pinned(session) == first
    assert len(acts(empty_station, "registry.founded")) == 1


def test_where_real_operators_decide_what_is_trained_waits(
    linear: Station, linear_model: OpenedModel, operators: dict[str, Signer]
) -> None:
    assert not keeps_demo_operators(linear)
    trained = train(linear, load_readings(linear), small_station.order("single:boreas"))
    assert states(linear) == {linear_model.model_id: registry.ACTIVE, trained.model_id: registry.CANDIDATE}
    assert follow_releases(linear, AT)["main"].model.startswith(linear_model.model_id)
    # A service that retrains goes on with what serves.
    serving = Serving(linear)
    assert serving.reload(by=BY) == linear_model.model_id
    for name in ("bob", "cy"):
        approve(linear, trained.model_id, operators[name], at=AT)
    promote(linear, trained.model_id, by=BY, at=AT)
    assert serving.reload(by=BY) == trained.model_id


def test_one_demo_operator_replaced_no_key_of_theirs_comes_back(linear: Station, linear_model: OpenedModel) -> None:
    last = chest_name(DEMO_OPERATORS[2])
    linear.chest.remove(last)
    in_service_again(linear, linear_model, "s-2")
    assert not linear.chest.has(last)


def test_demo_keys_that_stand_in_no_root_any_more_promote_nothing(linear: Station, linear_model: OpenedModel) -> None:
    kept = {chest_name(name): linear.chest.folder / f"{chest_name(name)}.key" for name in DEMO_OPERATORS}
    copies = {path: path.read_bytes() for path in kept.values()}
    hand_over(linear)
    # As if the process that put the new root in force was killed before it removed them.
    for path, content in copies.items():
        path.write_bytes(content)
        path.chmod(0o600)
    assert all(linear.chest.has(name) for name in kept)
    assert not keeps_demo_operators(linear)
    waits = candidate_again(linear, linear_model, "s-2")
    assert not promote_unattended(linear, waits, by=BY, at=AT)
    assert acts(linear, "access.denied") == []
