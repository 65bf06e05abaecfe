"""Promotion over the wire: what is signed, by whom, and that one person is never two."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.approval_records import NotTwoPeople
from pipeline.approvals import (
    Candidate,
    NotProposed,
    approve_for_demo,
    approve_promotion,
    propose_promotion,
    waiting_promotion,
)
from pipeline.errors import PipelineError
from pipeline.promotion import promote
from pipeline.publish import OpenedModel
from pipeline.releases import believed
from pipeline.station import Station
from security.errors import SignatureInvalid
from security.identity import Identity, Role
from security.release_signing import read_proposal, sign_proposal
from security.releases import NotAnOperator, ReleaseConflict
from security.sealed_bundle import id_of
from security.signing import Signer, new_signer
from tests.unit.pipeline.republish import AT, acts, candidate_again, hand_over, in_service_again


def person(name: str) -> Identity:
    return Identity(name, Role.OPERATOR, f"token of {name}", AT + timedelta(hours=1))


OLGA, PAUL, QUINN = person("olga"), person("paul"), person("quinn")


@pytest.fixture
def operators(linear: Station) -> dict[str, Signer]:
    return hand_over(linear)


@pytest.fixture
def proposed(linear: Station, linear_model: OpenedModel, operators: dict[str, Signer]) -> Candidate:
    """A second model, proposed by Olga where real operators decide."""
    assert operators
    return propose_promotion(linear, candidate_again(linear, linear_model, "s-2"), by=OLGA, at=AT)


def approve(station: Station, proposed: Candidate, by: Identity, signer: Signer) -> Candidate:
    signature = sign_proposal(proposed.content, signer)
    return approve_promotion(station, proposed.model_id, by=by, key_id=signer.key_id, signature=signature, at=AT)


def in_force(station: Station) -> str:
    return id_of(believed(station).by_role["main"].model)


def test_two_people_with_two_keys_put_a_model_in_service(
    linear: Station, proposed: Candidate, operators: dict[str, Signer]
) -> None:
    assert (proposed.signed_by, proposed.needed, proposed.demo, proposed.approved) == ((), 2, False, False)
    assert dict(proposed.operators) == {name: signer.key_id for name, signer in operators.items()}

    one = approve(linear, proposed, OLGA, operators["ann"])
    two = approve(linear, proposed, PAUL, operators["cy"])

    assert (one.signed_by, one.approved) == (("ann",), False)
    assert (two.signed_by, two.approved) == (("ann", "cy"), True)
    promote(linear, proposed.model_id, by="paul", at=AT)
    assert in_force(linear) == proposed.model_id
    noted = [(entry.actor, json.loads(entry.details)["signed_by"]) for entry in acts(linear, "model.approved")[-2:]]
    assert noted == [("olga", ["ann"]), ("paul", ["ann", "cy"])]
    assert [entry.actor for entry in acts(linear, "model.proposed")] == ["olga"]


def test_proposing_changes_nothing_and_proposing_again_asks_for_the_same_bytes(
    linear: Station, linear_model: OpenedModel, proposed: Candidate
) -> None:
    again = propose_promotion(linear, proposed.model_id, by=PAUL, at=AT)

    assert again.content == proposed.content
    assert in_force(linear) == linear_model.model_id
    with pytest.raises(PipelineError, match="approved by nobody"):
        promote(linear, proposed.model_id, by="olga", at=AT)


def test_the_bytes_to_sign_are_the_list_of_releases_and_name_the_model(proposed: Candidate) -> None:
    read = read_proposal(proposed.content, proposed.releases)

    assert read.version == proposed.version
    assert proposed.model_id in {id_of(release.model) for release in read.releases}


def test_one_person_with_two_keys_is_still_one_person(
    linear: Station, proposed: Candidate, operators: dict[str, Signer]
) -> None:
    approve(linear, proposed, OLGA, operators["ann"])

    for spelling in ("olga", "Olga", " OLGA "):
        with pytest.raises(NotTwoPeople, match="does not approve twice"):
            approve(linear, proposed, person(spelling), operators["bob"])
    with pytest.raises(PipelineError):
        promote(linear, proposed.model_id, by="olga", at=AT)
    assert {entry.actor.strip().casefold() for entry in acts(linear, "access.denied")} == {"olga"}


def test_one_key_in_two_peoples_hands_is_one_approval(
    linear: Station, proposed: Candidate, operators: dict[str, Signer]
) -> None:
    approve(linear, proposed, OLGA, operators["ann"])

    with pytest.raises(NotTwoPeople, match="for another person"):
        approve(linear, proposed, PAUL, operators["ann"])


def test_an_approval_sent_again_changes_nothing(linear: Station, proposed: Candidate, operators: dict[str, Signer]) -> None:
    for _ in range(3):
        said = approve(linear, proposed, OLGA, operators["ann"])

    assert (said.signed_by, said.approved) == (("ann",), False)


def test_a_program_does_not_approve(linear: Station, proposed: Candidate, operators: dict[str, Signer]) -> None:
    with pytest.raises(NotTwoPeople, match="a program"):
        approve(linear, proposed, person("service:schedule"), operators["ann"])


def test_a_strangers_signature_and_a_false_one_are_refused_and_bind_no_key(
    linear: Station, proposed: Candidate, operators: dict[str, Signer]
) -> None:
    with pytest.raises(NotAnOperator):
        approve(linear, proposed, OLGA, new_signer())
    with pytest.raises(SignatureInvalid, match="not this operator's"):
        approve_promotion(linear, proposed.model_id, by=OLGA, key_id=operators["bob"].key_id, signature=b"\0" * 64, at=AT)

    assert len(acts(linear, "access.denied")) == 2
    # Whoever named Bob's key without having it did not take it from Bob.
    assert approve(linear, proposed, PAUL, operators["bob"]).signed_by == ("bob",)


def test_another_models_signature_does_not_count_for_this_one(
    linear: Station, linear_model: OpenedModel, proposed: Candidate, operators: dict[str, Signer]
) -> None:
    other = candidate_again(linear, linear_model, "s-3")
    signature = sign_proposal(proposed.content, operators["ann"])
    second = propose_promotion(linear, other, by=OLGA, at=AT, replace=True)

    with pytest.raises(SignatureInvalid):
        approve_promotion(linear, other, by=OLGA, key_id=operators["ann"].key_id, signature=signature, at=AT)
    assert waiting_promotion(linear, other) == second


def test_what_waits_is_not_dropped_by_another_proposal_unless_that_says_so(
    linear: Station, linear_model: OpenedModel, proposed: Candidate, operators: dict[str, Signer]
) -> None:
    other = candidate_again(linear, linear_model, "s-3")

    with pytest.raises(ReleaseConflict):
        propose_promotion(linear, other, by=PAUL, at=AT)
    propose_promotion(linear, other, by=PAUL, at=AT, replace=True)

    with pytest.raises(NotProposed, match="does not wait"):
        approve(linear, proposed, OLGA, operators["ann"])


def test_without_a_proposal_there_is_nothing_to_approve(linear: Station, linear_model: OpenedModel) -> None:
    model_id = candidate_again(linear, linear_model, "s-2")

    with pytest.raises(NotProposed, match=f"POST /v1/models/{model_id}/promotion"):
        waiting_promotion(linear, model_id)


def test_an_unknown_model_is_not_proposed(linear: Station) -> None:
    with pytest.raises(PipelineError, match="unknown"):
        propose_promotion(linear, "0" * 16, by=OLGA, at=AT)


def test_where_real_operators_decide_the_station_signs_for_nobody(linear: Station, proposed: Candidate) -> None:
    with pytest.raises(PipelineError, match="their keys are not the station's"):
        approve_for_demo(linear, proposed.model_id, by=OLGA, at=AT)


def test_a_demonstration_signs_with_one_of_its_keys_for_each_person(linear: Station, linear_model: OpenedModel) -> None:
    model_id = candidate_again(linear, linear_model, "s-2")
    assert propose_promotion(linear, model_id, by=OLGA, at=AT).demo

    for _ in range(3):
        one = approve_for_demo(linear, model_id, by=OLGA, at=AT)
    two = approve_for_demo(linear, model_id, by=PAUL, at=AT)

    assert (one.signed_by, one.approved) == (("demo-1",), False)
    assert (two.signed_by, two.approved) == (("demo-1", "demo-2"), True)


def test_the_two_of_an_earlier_model_may_decide_about_the_next(linear: Station, linear_model: OpenedModel) -> None:
    for snapshot in ("s-2", "s-3"):
        model_id = candidate_again(linear, linear_model, snapshot)
        propose_promotion(linear, model_id, by=OLGA, at=AT)
        approve_for_demo(linear, model_id, by=OLGA, at=AT)
        assert approve_for_demo(linear, model_id, by=PAUL, at=AT).approved
        promote(linear, model_id, by="paul", at=AT)
        assert in_force(linear) == model_id


def test_what_is_promoted_unattended_needs_no_proposal_still(linear: Station, linear_model: OpenedModel) -> None:
    assert in_force(linear) != in_service_again(linear, linear_model, "s-2") == in_force(linear)


def test_an_api_key_is_a_program_and_does_not_approve(
    linear: Station, proposed: Candidate, operators: dict[str, Signer]
) -> None:
    unattended = replace(PAUL, method="api-key", key_id="5f2c1d0a9b8e7f60")

    with pytest.raises(NotTwoPeople, match="a program"):
        approve(linear, proposed, unattended, next(iter(operators.values())))
