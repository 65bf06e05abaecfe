"""Operators leave and come and keys are lost: whoever decides today decides, and the last good model serves throughout."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline import registry, rotate_operators
from pipeline.database import transaction
from pipeline.errors import ModelWaits, NoActiveModel
from pipeline.promotion import DEMO_OPERATORS, approve, chest_name, keeps_demo_operators, promote
from pipeline.publish import OpenedModel
from pipeline.release_pins import pinned
from pipeline.releases import ONLINE, believed, follow_releases, online_signer
from pipeline.rotate_operators import NEXT_ONLINE, propose_rotation, publish_rotation, waiting_rotation
from pipeline.station import Station
from security.errors import KeyringError
from security.key_chest import KeyChest
from security.keyring import trusted_keys
from security.releases import ApprovalsMissing, NotAnOperator, NothingProposed
from security.signing import Signer, new_signer
from tests.unit.pipeline.republish import AT, BY, acts, candidate_again, demo_operators, hand_over, states

DEMO_KEYS = {chest_name(name) for name in DEMO_OPERATORS}


class Stopped(BaseException):
    """Like a kill: nothing catches it."""


def in_force(station: Station) -> str:
    return follow_releases(station, AT)["main"].model[:16]


def promoted(station: Station, model: OpenedModel, snapshot: str, signers: list[Signer]) -> str:
    model_id = candidate_again(station, model, snapshot)
    for signer in signers:
        approve(station, model_id, signer, at=AT)
    promote(station, model_id, by=BY, at=AT)
    assert in_force(station) == model_id
    return model_id


def roots(station: Station) -> list[int]:
    return [json.loads(entry.details)["root"] for entry in acts(station, "root.rotated")]


def test_one_demo_operator_is_replaced_by_a_real_one(linear: Station, linear_model: OpenedModel) -> None:
    one, two, three = demo_operators(linear)
    ann = new_signer()
    staged = propose_rotation(linear, one, out=["demo-3"], into={"ann": ann.public_key}, at=AT)
    assert (staged.out, staged.into, staged.new_online_key, staged.approved) == (("demo-3",), ("ann",), False, False)
    assert waiting_rotation(linear) == staged
    with pytest.raises(ApprovalsMissing, match="approved by demo-1"):
        publish_rotation(linear, by=BY, at=AT)
    assert propose_rotation(linear, two, out=["demo-3"], into={"ann": ann.public_key}, at=AT).approved
    assert publish_rotation(linear, by=BY, at=AT).root == 2
    assert waiting_rotation(linear) is None
    assert in_force(linear) == linear_model.model_id
    assert {name for name in linear.chest.names() if name in DEMO_KEYS} == {chest_name("demo-1"), chest_name("demo-2")}
    assert roots(linear) == [2]
    # Who left decides nothing any more, who came does.
    model_id = promoted(linear, linear_model, "s-2", [ann, two])
    with pytest.raises(NotAnOperator):
        approve(linear, model_id, three, at=AT)


def test_real_operators_take_over_and_no_demo_key_is_left(linear: Station, linear_model: OpenedModel) -> None:
    assert keeps_demo_operators(linear)
    demo = demo_operators(linear)
    real = hand_over(linear)
    assert not keeps_demo_operators(linear)
    assert not DEMO_KEYS & set(linear.chest.names())
    assert in_force(linear) == linear_model.model_id
    for signer in demo:
        with pytest.raises(NotAnOperator):
            approve(linear, linear_model.model_id, signer, at=AT)
    promoted(linear, linear_model, "s-2", [real["bob"], real["cy"]])
    assert {json.loads(entry.details)["into"][0] for entry in acts(linear, "root.approved")} == {"ann"}


def test_a_lost_key_is_replaced_by_the_other_two(linear: Station, linear_model: OpenedModel) -> None:
    real = hand_over(linear)
    lost, found = real.pop("cy"), new_signer()
    for signer in real.values():
        propose_rotation(linear, signer, out=["cy"], into={"cy": found.public_key}, at=AT)
    assert publish_rotation(linear, by=BY, at=AT).root == 3
    assert in_force(linear) == linear_model.model_id
    model_id = candidate_again(linear, linear_model, "s-2")
    with pytest.raises(NotAnOperator):
        approve(linear, model_id, lost, at=AT)
    promoted(linear, linear_model, "s-3", [real["ann"], found])
    # And it never comes back, under whatever name.
    with pytest.raises(KeyringError, match="was revoked"):
        propose_rotation(linear, found, into={"dan": lost.public_key}, at=AT)


def test_two_operators_never_become_so_few_that_a_lost_key_would_block(linear: Station) -> None:
    one, *_ = demo_operators(linear)
    for out in (["demo-3"], ["demo-2", "demo-3"]):
        with pytest.raises(KeyringError, match="not safe"):
            propose_rotation(linear, one, out=out, at=AT)
    assert waiting_rotation(linear) is None


def test_a_stranger_rotates_nobody_and_the_denial_is_noted(linear: Station) -> None:
    stranger = new_signer()
    with pytest.raises(NotAnOperator):
        propose_rotation(linear, stranger, new_online=True, at=AT)
    (denied,) = acts(linear, "access.denied")
    assert (denied.actor, denied.subject) == (f"key {stranger.key_id}", "registry")
    with pytest.raises(NothingProposed):
        publish_rotation(linear, by=BY, at=AT)


def test_a_new_online_key_takes_the_place_of_the_one_before(linear: Station, linear_model: OpenedModel) -> None:
    stolen = online_signer(linear)
    for signer in demo_operators(linear)[:2]:
        assert propose_rotation(linear, signer, new_online=True, at=AT).new_online_key
    assert online_signer(linear).key_id == stolen.key_id
    publish_rotation(linear, by=BY, at=AT)
    fresh = online_signer(linear)
    assert fresh.key_id != stolen.key_id
    assert not linear.chest.has(NEXT_ONLINE)
    with transaction(linear.engine) as session:
        assert fresh.key_id in trusted_keys(session, "registry")
    assert in_force(linear) == linear_model.model_id
    promoted(linear, linear_model, "s-2", demo_operators(linear)[:2])
    # It goes on: another one, and who only wants root to last another year.
    for signer in demo_operators(linear)[1:]:
        propose_rotation(linear, signer, new_online=True, at=AT)
    publish_rotation(linear, by=BY, at=AT)
    assert online_signer(linear).key_id not in {fresh.key_id, stolen.key_id}
    for signer in demo_operators(linear)[:2]:
        propose_rotation(linear, signer, at=AT)
    assert publish_rotation(linear, by=BY, at=AT).root == 4
    assert roots(linear) == [2, 3, 4]


@pytest.mark.parametrize("kind", ["operators", "online key", "all at once"])
@pytest.mark.parametrize(
    "point",
    [
        "before the new root",
        "before what was staged was cleared",
        "before anything was settled",
        "within the chest",
        "before the log",
    ],
)
def test_killed_anywhere_the_old_model_serves_and_the_same_command_ends_it(
    linear: Station, linear_model: OpenedModel, monkeypatch: pytest.MonkeyPatch, kind: str, point: str
) -> None:
    real = {name: new_signer() for name in ("ann", "bob", "cy")}
    change: dict[str, Any] = {"new_online": kind != "operators"}
    signers = demo_operators(linear)[:2]
    if kind != "online key":
        change |= {"out": DEMO_OPERATORS, "into": {name: signer.public_key for name, signer in real.items()}}
        signers += [real["ann"], real["bob"]]
    for signer in signers:
        propose_rotation(linear, signer, at=AT, **change)

    with monkeypatch.context() as patched:
        stop_at(point, kind, patched)
        with pytest.raises(Stopped):
            publish_rotation(linear, by=BY, at=AT)
    # A service that looks in between raises the pin, and finds what served before.
    assert in_force(linear) == linear_model.model_id

    assert publish_rotation(linear, by=BY, at=AT).root == 2
    assert roots(linear) == [2]
    assert not linear.chest.has(NEXT_ONLINE)
    assert bool(DEMO_KEYS & set(linear.chest.names())) == (kind == "online key")
    with transaction(linear.engine) as session:
        pin = pinned(session)
        assert online_signer(linear).key_id in trusted_keys(session, "registry")
    assert pin is not None
    assert pin.versions == believed(linear).versions
    with pytest.raises(NothingProposed):
        publish_rotation(linear, by=BY, at=AT)
    promoted(linear, linear_model, "s-2", [real["ann"], real["cy"]] if kind != "online key" else demo_operators(linear)[:2])


def stop_at(point: str, kind: str, patched: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Stopped

    if point == "before the new root":
        patched.setattr(rotate_operators, "publish_root", stop)
    elif point == "before what was staged was cleared":
        patched.setattr("security.release_rotation._clear", stop)
    elif point == "before anything was settled":
        patched.setattr(rotate_operators, "_settle", stop)
    elif point == "within the chest":
        patched.setattr(KeyChest, "rename" if kind == "online key" else "remove", stop)
    else:
        patched.setattr(rotate_operators, "register_key", stop)


def test_where_the_first_model_is_still_to_come_there_is_nothing_to_rotate(empty_station: Station) -> None:
    with pytest.raises(NoActiveModel):
        publish_rotation(empty_station, by=BY, at=AT)


def test_what_was_approved_before_a_rotation_has_to_be_approved_by_those_who_decide_now(
    linear: Station, linear_model: OpenedModel
) -> None:
    model_id = candidate_again(linear, linear_model, "s-2")
    for signer in demo_operators(linear)[:2]:
        approve(linear, model_id, signer, at=AT)
    real = hand_over(linear)
    with pytest.raises(ModelWaits):
        promote(linear, model_id, by=BY, at=AT)
    assert states(linear)[model_id] == registry.CANDIDATE
    for name in ("ann", "cy"):
        approve(linear, model_id, real[name], at=AT)
    promote(linear, model_id, by=BY, at=AT)
    assert in_force(linear) == model_id


def test_the_online_key_alone_decides_nothing(linear: Station, linear_model: OpenedModel) -> None:
    model_id = candidate_again(linear, linear_model, "s-2")
    thief = linear.chest.signer(ONLINE)
    with pytest.raises(NotAnOperator):
        approve(linear, model_id, thief, at=AT)
    with pytest.raises(NotAnOperator):
        propose_rotation(linear, thief, out=["demo-3"], into={"thief": new_signer().public_key}, at=AT)
    assert in_force(linear) == linear_model.model_id
