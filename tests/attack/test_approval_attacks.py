"""Attacks on who decides which model runs (AML.T0010.003, AML.T0018): each wins with its safeguard off, loses with it on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]
from tuf.api.metadata import Metadata, Root, Targets  # type: ignore[attr-defined]

from pipeline import approval_records, approvals
from pipeline.approval_records import NotTwoPeople
from pipeline.approvals import approve_for_demo, approve_promotion, propose_promotion
from pipeline.errors import ModelWaits
from pipeline.promotion import promote
from pipeline.publish import open_model
from pipeline.releases import believed, repository_of
from pipeline.station import Station, open_station
from security.errors import SignatureInvalid
from security.identity import Identity, Role
from security.release_files import write_release
from security.release_repository import add_approval
from security.release_signing import ProposalRefused, read_proposal, sign_proposal
from security.releases import Release
from security.sealed_bundle import id_of
from security.signing import Signer, new_signer
from tests.unit.api import small_station
from tests.unit.pipeline.republish import AT, candidate_again, hand_over


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_station.build(tmp_path_factory.mktemp("approving") / "built", forecaster="linear")


@pytest.fixture
def station(built: Path, tmp_path: Path) -> Iterator[Station]:
    shutil.copytree(built, tmp_path / "home", symlinks=True)
    opened = open_station(small_station.settings_for(tmp_path / "home", forecaster="linear"))
    yield opened
    opened.engine.dispose()


@pytest.fixture
def operators(station: Station) -> dict[str, Signer]:
    return hand_over(station)


@pytest.fixture
def evil(station: Station) -> str:
    """A second model that Mallory wants in service."""
    return candidate_again(station, open_model(station, in_force(station)), "s-2")


def person(name: str, token_id: str = "only") -> Identity:  # noqa: S107 (an id)
    return Identity(name, Role.OPERATOR, token_id, AT)


def in_force(station: Station) -> str:
    return id_of(believed(station).by_role["main"].model)


def test_one_person_with_two_stolen_keys_decides_alone_where_only_keys_are_counted(
    station: Station, operators: dict[str, Signer], evil: str
) -> None:
    proposed = propose_promotion(station, evil, by=person("mallory"), at=AT)
    signatures = {signer.key_id: sign_proposal(proposed.content, signer) for signer in (operators["ann"], operators["bob"])}
    first, second = signatures

    approve_promotion(station, evil, by=person("mallory", "one"), key_id=first, signature=signatures[first], at=AT)
    with pytest.raises(NotTwoPeople):
        approve_promotion(station, evil, by=person("mallory", "two"), key_id=second, signature=signatures[second], at=AT)
    with pytest.raises(ModelWaits):
        promote(station, evil, by="mallory", at=AT)

    # The safeguard off: two signatures of two keys, and nobody asks who brought them.
    add_approval(repository_of(station), proposed.content, second, signatures[second], datetime.now(UTC))
    promote(station, evil, by="mallory", at=AT)
    assert in_force(station) == evil


def test_one_operator_with_two_tokens_promotes_alone_on_a_demonstration_where_tokens_are_counted(
    station: Station, evil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    propose_promotion(station, evil, by=person("mallory"), at=AT)
    for token_id in ("one", "two", "three"):
        said = approve_for_demo(station, evil, by=person("mallory", token_id), at=AT)
    assert (said.signed_by, said.approved) == (("demo-1",), False)

    for module in (approval_records, approvals):
        monkeypatch.setattr(module, "person_of", lambda by: by.token_id)
    assert approve_for_demo(station, evil, by=person("mallory", "four"), at=AT).approved


def test_a_signature_for_one_model_does_not_put_another_in_service(
    station: Station, operators: dict[str, Signer], evil: str
) -> None:
    good = candidate_again(station, open_model(station, in_force(station)), "s-3")
    asked = propose_promotion(station, good, by=person("olga"), at=AT)
    captured = {name: sign_proposal(asked.content, operators[name]) for name in ("ann", "bob")}

    swapped = propose_promotion(station, evil, by=person("mallory"), at=AT, replace=True)
    for name, signature in captured.items():
        key_id = operators[name].key_id
        with pytest.raises(SignatureInvalid):
            approve_promotion(station, evil, by=person(name), key_id=key_id, signature=signature, at=AT)
    assert swapped.signed_by == ()

    # Where it is what was signed, the same signatures count.
    propose_promotion(station, good, by=person("olga"), at=AT, replace=True)
    for name in captured:
        fresh = approvals.waiting_promotion(station, good)
        signature = sign_proposal(fresh.content, operators[name])
        said = approve_promotion(station, good, by=person(name), key_id=operators[name].key_id, signature=signature, at=AT)
    assert said.approved


def test_a_service_that_lies_about_what_it_has_signed_is_believed_by_who_signs_unread(
    station: Station, operators: dict[str, Signer], evil: str
) -> None:
    """The service is Mallory's: she shows Ann and Bob the good model's name, over the evil one's bytes."""
    proposed = propose_promotion(station, evil, by=person("mallory"), at=AT)
    shown = [Release(one.role, "a" * 64, one.version) for one in proposed.releases]

    with pytest.raises(ProposalRefused, match="not the one that the proposal says"):
        read_proposal(proposed.content, shown)

    for name in ("ann", "bob"):
        signature = sign_proposal(proposed.content, operators[name])
        approve_promotion(station, evil, by=person(name), key_id=operators[name].key_id, signature=signature, at=AT)
    promote(station, evil, by="mallory", at=AT)
    assert in_force(station) == evil


def test_an_operator_who_reads_signs_no_root() -> None:
    """A root that names Mallory alone would end the operators' say; its signature would be as good as any of theirs."""
    ann = new_signer()
    root = Root(version=7, expires=datetime(2030, 1, 1, tzinfo=UTC))
    root.add_key(SSlibKey.from_crypto(ann.public_key, ann.key_id), Root.type)
    content = Metadata(root).signed_bytes

    assert len(sign_proposal(content, ann)) == 64
    with pytest.raises(ProposalRefused, match="this is root"):
        read_proposal(content, [])


def test_an_operator_who_reads_signs_no_release_that_nobody_told_of(tmp_path: Path) -> None:
    told, untold = Release("main", "a" * 64, 9), Release("fallback", "e" * 64, 9)
    (tmp_path / "targets").mkdir()
    listed = {f"{one.role}.json": write_release(tmp_path, one) for one in (told, untold)}
    content = Metadata(Targets(9, expires=datetime(2030, 1, 1, tzinfo=UTC), targets=listed)).signed_bytes

    assert read_proposal(content, [told, untold]).version == 9
    with pytest.raises(ProposalRefused, match="other releases"):
        read_proposal(content, [told])


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"null", b"[]", b'{"_type":"targets"}', b"{" * 5000, b'{"_type":"targets","_type":"root"}', b"\xff\xfe"],
    ids=["empty", "object", "null", "list", "bare", "deep", "twice", "no text"],
)
def test_bytes_that_are_no_proposal_are_refused_with_a_reason(content: bytes) -> None:
    with pytest.raises(ProposalRefused):
        read_proposal(content, [])


@pytest.mark.parametrize("change", [(b'"version":9', b'"version": 9'), (b'"targets"', b'"t\\u0061rgets"')])
def test_another_spelling_of_a_proposal_is_not_signed(tmp_path: Path, change: tuple[bytes, bytes]) -> None:
    release = Release("main", "a" * 64, 9)
    (tmp_path / "targets").mkdir()
    listed = {"main.json": write_release(tmp_path, release)}
    content = Metadata(Targets(9, expires=datetime(2030, 1, 1, tzinfo=UTC), targets=listed)).signed_bytes
    assert change[0] in content

    with pytest.raises(ProposalRefused):
        read_proposal(content.replace(*change), [release])
