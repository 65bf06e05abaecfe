from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from security import signing
from security.errors import ContentChanged, IntegrityError, SignatureInvalid
from security.manifest import canonical_json
from security.signing import Signer, new_signer, open_folder, seal_folder, sign_bytes, verify_bytes


@pytest.fixture
def signer() -> Signer:
    return new_signer()


@pytest.fixture
def sealed(tmp_path: Path, signer: Signer) -> Path:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "demand.csv").write_bytes(b"timestamp,demand_mw\n")
    seal_folder(folder, "snapshot", {"rows": 0}, signer)
    return folder


def envelope_of(folder: Path) -> dict[str, object]:
    envelope: dict[str, object] = json.loads((folder / "manifest.dsse.json").read_text())
    return envelope


def test_a_sealed_folder_opens_with_the_key_that_sealed_it(sealed: Path, signer: Signer):
    manifest = open_folder(sealed, "snapshot", {signer.key_id: signer.public_key})
    assert manifest.predicate == {"rows": 0}
    assert [file.name for file in manifest.files] == ["demand.csv"]


def test_sealing_twice_replaces_the_manifest_and_leaves_nothing_behind(sealed: Path, signer: Signer):
    (sealed / "manifest.dsse.json.tmp").write_bytes(b"left by a crash")
    seal_folder(sealed, "snapshot", {"rows": 1}, signer)
    assert open_folder(sealed, "snapshot", {signer.key_id: signer.public_key}).predicate == {"rows": 1}
    assert sorted(path.name for path in sealed.iterdir()) == ["demand.csv", "manifest.dsse.json"]


def test_the_envelope_says_it_holds_an_in_toto_statement(sealed: Path):
    assert envelope_of(sealed)["payloadType"] == "application/vnd.in-toto+json"


def test_a_folder_never_sealed_does_not_open(tmp_path: Path, signer: Signer):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ContentChanged) as refusal:
        open_folder(tmp_path, "snapshot", {signer.key_id: signer.public_key})
    assert (refusal.value.path, refusal.value.why) == ("manifest.dsse.json", "missing")


def test_nothing_opens_when_no_key_is_trusted(sealed: Path):
    with pytest.raises(SignatureInvalid):
        open_folder(sealed, "snapshot", {})


def test_another_kind_does_not_open(sealed: Path, signer: Signer):
    with pytest.raises(IntegrityError, match="sealed as snapshot, wanted model"):
        open_folder(sealed, "model", {signer.key_id: signer.public_key})


def test_the_payload_is_not_parsed_before_its_signature_holds(sealed: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch):
    envelope = envelope_of(sealed)
    envelope["payload"] = base64.b64encode(b"{}").decode()
    (sealed / "manifest.dsse.json").write_text(json.dumps(envelope))
    parsed: list[bytes] = []
    monkeypatch.setattr(signing, "parse_manifest", parsed.append)
    with pytest.raises(SignatureInvalid):
        open_folder(sealed, "snapshot", {signer.key_id: signer.public_key})
    assert parsed == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"payload": 1, "payloadType": "a", "signatures": []}',
        '{"payload": "", "payloadType": "a", "signatures": []}',
        '{"payload": "", "payloadType": "a", "signatures": [{"keyid": [], "sig": ""}]}',
        '{"payload": "!", "payloadType": "a", "signatures": [{"keyid": "a", "sig": "!"}]}',
        "[" * 100_000,
    ],
)
def test_a_manifest_file_that_is_no_envelope_is_refused(sealed: Path, signer: Signer, text: str):
    (sealed / "manifest.dsse.json").write_text(text)
    with pytest.raises(SignatureInvalid):
        open_folder(sealed, "snapshot", {signer.key_id: signer.public_key})


def test_a_huge_manifest_is_refused_before_it_is_read_whole(sealed: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signing, "STATEMENT_LIMIT_BYTES", 10)
    with pytest.raises(SignatureInvalid, match="too large"):
        open_folder(sealed, "snapshot", {signer.key_id: signer.public_key})


@pytest.mark.parametrize("spelling", ["indented", "extra field", "loose base64"])
def test_another_spelling_of_a_good_envelope_is_refused(sealed: Path, signer: Signer, spelling: str):
    path = sealed / "manifest.dsse.json"
    envelope = envelope_of(sealed)
    if spelling == "indented":
        path.write_text(json.dumps(envelope, indent=1))
    elif spelling == "extra field":
        path.write_bytes(canonical_json({**envelope, "note": "trust me"}))
    else:
        content = path.read_bytes()
        # 64 bytes leave four unused bits in the last digit before the padding.
        end = content.index(b'=="')
        digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        path.write_bytes(content[: end - 1] + digits[digits.index(content[end - 1]) + 1 :][:1] + content[end:])
    with pytest.raises(SignatureInvalid, match="not written as Gridward writes it"):
        open_folder(sealed, "snapshot", {signer.key_id: signer.public_key})


def test_an_envelope_of_another_payload_type_is_refused_even_when_signed(
    sealed: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(signing, "PAYLOAD_TYPE", "application/json")
    seal_folder(sealed, "snapshot", {}, signer)
    monkeypatch.undo()
    with pytest.raises(SignatureInvalid, match="other than an in-toto statement"):
        open_folder(sealed, "snapshot", {signer.key_id: signer.public_key})


def test_a_small_message_verifies_with_its_own_key_and_bytes_only(signer: Signer):
    signature = sign_bytes(b"21.4", signer)
    verify_bytes(b"21.4", signature, signer.public_key)
    with pytest.raises(SignatureInvalid):
        verify_bytes(b"24.4", signature, signer.public_key)
    with pytest.raises(SignatureInvalid):
        verify_bytes(b"21.4", signature, new_signer().public_key)


def test_a_signed_message_cannot_pass_for_a_signed_folder(sealed: Path, signer: Signer):
    envelope = envelope_of(sealed)
    payload = base64.b64decode(str(envelope["payload"]))
    forged = payload.replace(b'"rows":0', b'"rows":9')
    pae = b"DSSEv1 %d %b %d %b" % (len(signing.PAYLOAD_TYPE), signing.PAYLOAD_TYPE.encode(), len(forged), forged)
    signature = base64.b64encode(sign_bytes(pae, signer)).decode()
    envelope |= {
        "payload": base64.b64encode(forged).decode(),
        "signatures": [{"keyid": signer.key_id, "sig": signature}],
    }
    (sealed / "manifest.dsse.json").write_text(json.dumps(envelope))
    with pytest.raises(SignatureInvalid):
        open_folder(sealed, "snapshot", {signer.key_id: signer.public_key})


def test_printing_a_signer_shows_no_secret(signer: Signer):
    secret = signer.private_key.private_bytes_raw()
    assert "private" not in repr(signer)
    assert secret.hex() not in repr(signer)
    assert signer.key_id in repr(signer)


def test_a_key_id_is_the_digest_of_the_public_key(signer: Signer):
    assert Signer.from_private_key(signer.private_key).key_id == signer.key_id
    assert len(signer.key_id) == 32
