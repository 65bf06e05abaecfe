"""Which model runs, decided over HTTP by two people."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import httpx
import pytest

from pipeline.publish import open_model
from security.signing import Signer
from tests.unit.api.commands import runner
from tests.unit.api.small_station import Service
from tests.unit.pipeline.republish import acts, candidate_again, hand_over, states
from tests.unit.pipeline.small_backup import hurry


@pytest.fixture
def candidate(service: Service) -> str:
    """A second model, published and not in service."""
    return candidate_again(service.station, open_model(service.station, service.serving.active_model_id), "s-2")


@pytest.fixture
def operators(service: Service) -> dict[str, Signer]:
    return hand_over(service.station)


def ask(service: Service, person: str, path: str, body: dict[str, object] | None = None) -> httpx.Response:
    return service.ask("POST", path, token=service.token("operator", person), json=body or {})


def test_on_a_demonstration_two_operators_put_a_model_in_service_and_are_told_whose_keys_sign(
    service: Service, candidate: str
) -> None:
    proposed = ask(service, "olga", f"/v1/models/{candidate}/promotion").json()
    one = ask(service, "olga", f"/v1/models/{candidate}/approvals")
    two = ask(service, "paul", f"/v1/models/{candidate}/approvals")

    assert "the station keeps these operators' keys" in proposed["keys_are_held"]
    assert (proposed["state"], proposed["needed"], proposed["signed_by"]) == ("waits", 2, [])
    assert (one.status_code, one.json()["state"], one.json()["signed_by"]) == (200, "waits", ["demo-1"])
    assert (two.status_code, two.json()["state"], two.json()["signed_by"]) == (200, "in-service", ["demo-1", "demo-2"])
    assert service.serving.active_model_id == candidate
    assert service.ask("GET", "/v1/models", role="analyst").json()["active_model_id"] == candidate
    assert acts(service.station, "model.activated")[-1].actor == "paul"


def test_the_same_operator_cannot_be_both(service: Service, candidate: str) -> None:
    serving = service.serving.active_model_id
    ask(service, "olga", f"/v1/models/{candidate}/promotion")
    answers = [ask(service, "olga", f"/v1/models/{candidate}/approvals") for _ in range(3)]

    assert [answer.json()["signed_by"] for answer in answers] == [["demo-1"]] * 3
    assert service.serving.active_model_id == serving


def test_real_operators_sign_at_home_what_the_service_answered(
    service: Service,
    candidate: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hurry(monkeypatch)
    signers = hand_over_to_files(service, tmp_path, monkeypatch, capsys)
    proposed = ask(service, "olga", f"/v1/models/{candidate}/promotion")
    (tmp_path / "proposal.json").write_text(proposed.text)
    # At the operator's own machine: no station there.
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "elsewhere"))
    sign = runner(monkeypatch, capsys, "registry", "sign")

    for person, name in (("olga", "ann"), ("paul", "bob")):
        monkeypatch.setenv("GRIDWARD_OPERATOR_PASSPHRASE", f"six quiet words of {name} alone")
        # The service of this test writes its log to the same place.
        capsys.readouterr()
        signed = sign(tmp_path / "proposal.json", "--model", candidate, "--key", signers[name])
        assert signed.code == 0
        assert f"model {candidate}" in signed.err
        answer = ask(service, person, f"/v1/models/{candidate}/approvals", signed.json)
        assert answer.status_code == 200

    assert (answer.json()["state"], answer.json()["signed_by"]) == ("in-service", ["ann", "bob"])
    assert answer.json()["keys_are_held"].startswith("operators sign")
    assert service.serving.active_model_id == candidate
    assert not (tmp_path / "elsewhere").exists()


def hand_over_to_files(
    service: Service, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, Path]:
    """Ann, Bob and Cy take over, each with a key file of their own."""
    monkeypatch.setenv("GRIDWARD_HOME", str(service.station.home))
    make, rotate = (runner(monkeypatch, capsys, *words) for words in (("operator-key",), ("registry", "rotate-root")))
    files = {}
    for name in ("ann", "bob", "cy"):
        monkeypatch.setenv("GRIDWARD_OPERATOR_PASSPHRASE", f"six quiet words of {name} alone")
        files[name] = place / f"{name}.key"
        (place / f"{name}.pub").write_text(make(files[name]).out)
    change = [option for number in (1, 2, 3) for option in ("--leave", f"demo-{number}")]
    change += [option for name in files for option in ("--join", f"{name}={place / name}.pub")]
    assert rotate("--demo", *change).code == 0
    for name in ("ann", "bob"):
        monkeypatch.setenv("GRIDWARD_OPERATOR_PASSPHRASE", f"six quiet words of {name} alone")
        assert rotate("--key", files[name], *change).code == 0
    assert rotate("--publish").code == 0
    return files


def test_where_real_operators_decide_an_approval_needs_their_signature(
    service: Service, candidate: str, operators: dict[str, Signer]
) -> None:
    ask(service, "olga", f"/v1/models/{candidate}/promotion")
    own_key = {"key_id": operators["ann"].key_id, "signature": base64.b64encode(b"\0" * 64).decode()}

    without = ask(service, "olga", f"/v1/models/{candidate}/approvals")
    false = ask(service, "olga", f"/v1/models/{candidate}/approvals", own_key)

    assert (without.status_code, false.status_code) == (409, 409)
    assert "gridward registry sign" in without.json()["detail"]
    assert false.json()["type"].endswith(":integrity")


@pytest.mark.parametrize(
    "body",
    [
        {"key_id": "a" * 32},
        {"signature": base64.b64encode(b"\0" * 64).decode()},
        {"key_id": "a" * 32, "signature": "not base64"},
        {"key_id": "a" * 32, "signature": base64.b64encode(b"\0" * 63).decode()},
        {"key_id": "A" * 32, "signature": base64.b64encode(b"\0" * 64).decode()},
        {"private_key": "x"},
    ],
    ids=["no signature", "no key", "no base64", "63 bytes", "other spelling", "a private key"],
)
def test_an_approval_has_its_shape(shared: Service, body: dict[str, object]) -> None:
    assert ask(shared, "olga", f"/v1/models/{'0' * 16}/approvals", body).status_code == 422


@pytest.mark.parametrize("act", ["promotion", "approvals"])
def test_a_model_that_never_was_is_not_found(shared: Service, act: str) -> None:
    assert ask(shared, "olga", f"/v1/models/{'0' * 16}/{act}").status_code == 404
    assert ask(shared, "olga", f"/v1/models/not-an-id/{act}").status_code == 422


def test_what_nobody_proposed_cannot_be_approved(service: Service, candidate: str) -> None:
    answer = ask(service, "olga", f"/v1/models/{candidate}/approvals")

    assert answer.status_code == 409
    assert f"POST /v1/models/{candidate}/promotion" in answer.json()["detail"]


def test_a_candidate_is_retired_and_the_model_in_service_is_not(service: Service, candidate: str) -> None:
    serving = service.serving.active_model_id

    retired = ask(service, "olga", f"/v1/models/{candidate}/retire", {"reason": "superseded"})
    kept = ask(service, "olga", f"/v1/models/{serving}/retire", {"reason": "superseded"})

    assert (retired.status_code, retired.json()["state"]) == (200, "retired")
    assert (kept.status_code, kept.json()["type"]) == (409, "urn:gridward:problem:pipeline")
    assert states(service.station)[candidate] == "retired"
    assert json.loads(acts(service.station, "model.retired")[-1].details)["reason"] == "superseded"


def test_a_tampered_model_is_not_even_proposed(service: Service, candidate: str) -> None:
    folder = service.station.models / candidate
    sealed = next(folder.glob("*.sealed"))
    content = bytearray(sealed.read_bytes())
    content[len(content) // 2] ^= 1
    sealed.write_bytes(bytes(content))

    answer = ask(service, "olga", f"/v1/models/{candidate}/promotion")

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:gridward:problem:integrity")
    shutil.rmtree(folder)
    assert ask(service, "olga", f"/v1/models/{candidate}/promotion").status_code in {409, 503}


def test_while_another_model_waits_a_proposal_is_refused_unless_it_says_that_it_replaces(
    service: Service, candidate: str
) -> None:
    other = candidate_again(service.station, open_model(service.station, service.serving.active_model_id), "s-3")
    ask(service, "olga", f"/v1/models/{candidate}/promotion")

    refused = ask(service, "paul", f"/v1/models/{other}/promotion")
    replaced = ask(service, "paul", f"/v1/models/{other}/promotion", {"replace": True})

    assert (refused.status_code, replaced.status_code) == (409, 200)
    assert ask(service, "olga", f"/v1/models/{candidate}/approvals").status_code == 409
