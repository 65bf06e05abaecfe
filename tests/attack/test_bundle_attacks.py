"""Attacks on models at rest, each winning with its safeguard off and losing with it on (AML.T0010.003, AML.T0018).

The attacker writes to the disk and to the database, copies what is there, and brings in what other stations signed.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from forecasting.errors import ModelFileRefused
from forecasting.golden import answers
from forecasting.model_files import dump
from pipeline import publish as publishing
from pipeline import registry
from pipeline.attest import GATES, PREDICATE_TYPES, PROVENANCE, GateResult
from pipeline.database import transaction
from pipeline.errors import AttestationRefused
from pipeline.promotion import promote_unattended
from pipeline.publish import KIND, OpenedModel, attest_judged, attested, open_model, read_model
from pipeline.serving import Serving
from pipeline.station import Station, open_station
from security.bundle_keys import bundle_context
from security.encryption import Cipher, DecryptionRefused
from security.errors import ContentChanged, IntegrityError, SignatureInvalid
from security.keyring import trusted_keys
from security.manifest import canonical_json
from security.releases import ReleaseRefused
from security.sealed_bundle import KEY_FILE, add_attestation, read_bundle
from security.signing import seal_folder, verify_statement
from tests.unit.api import small_station
from tests.unit.pipeline.republish import AT, candidate_again, in_service_again, sealed_again, sealed_as


def station_at(home: Path) -> Station:
    return open_station(small_station.settings_for(home, forecaster="linear"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_station.build(tmp_path_factory.mktemp("attacked") / "built", forecaster="linear")


@pytest.fixture
def station(built: Path, tmp_path: Path) -> Iterator[Station]:
    shutil.copytree(built, tmp_path / "home")
    opened = station_at(tmp_path / "home")
    yield opened
    opened.engine.dispose()


@pytest.fixture
def model(station: Station) -> OpenedModel:
    return open_model(station, active(station))


def active(station: Station) -> str:
    """What the database says is in service."""
    with transaction(station.engine) as session:
        return registry.active_id(session)


def cipher_of(station: Station, model_id: str) -> Cipher:
    return station.chest.cipher_of(station.models / model_id / KEY_FILE, bundle_context(model_id))


def test_an_older_valid_model_comes_back_through_the_database_only_where_the_database_decides(
    station: Station, model: OpenedModel, tmp_path: Path
) -> None:
    shutil.copytree(station.home, tmp_path / "older")
    newest = in_service_again(station, model, "newer")
    assert Serving(station).active_model_id == newest
    with transaction(station.engine) as session:
        for model_id, state in ((newest, registry.RETIRED), (model.model_id, registry.ACTIVE)):
            record = session.get_one(registry.ModelRecord, model_id)
            record.state = state
            session.add(record)

    # Off: the table decides, and the older bundle is as validly signed as ever.
    assert open_model(station, active(station)).model_id == model.model_id

    # On: the releases decide, and the table is put right.
    assert Serving(station).active_model_id == newest
    assert active(station) == newest

    # With the releases and the client's memory of them put back as well, the pinned version is left.
    for name in ("registry", "registry-client"):
        shutil.rmtree(station.home / name)
        if (tmp_path / "older" / name).exists():
            shutil.copytree(tmp_path / "older" / name, station.home / name)
    with pytest.raises(ReleaseRefused) as refusal:
        Serving(station)
    assert refusal.value.why == "rolled back"


def test_the_older_bundle_in_the_newer_ones_folder_does_not_open(station: Station, model: OpenedModel) -> None:
    newest = in_service_again(station, model, "newer")
    shutil.rmtree(station.models / newest)
    shutil.copytree(station.models / model.model_id, station.models / newest)

    # Off: who goes by what is signed, and not by which was released, opens it.
    assert open_model(station, model.model_id).model_id == model.model_id

    # On.
    with pytest.raises(IntegrityError):
        Serving(station)


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[Station]:
    """Another utility's station, with keys of its own."""
    opened = station_at(tmp_path / "tenant")
    yield opened
    opened.engine.dispose()


def test_another_tenants_validly_signed_bundle_opens_only_where_any_signature_will_do(
    station: Station, model: OpenedModel, tenant: Station
) -> None:
    theirs = sealed_again(tenant, model, "theirs")
    bundle = read_model(tenant, theirs)
    folder = station.models / theirs
    shutil.copytree(tenant.models / theirs, folder)
    # The keys around it are not ours.
    with pytest.raises(DecryptionRefused):
        read_model(station, theirs)

    # Encrypted with ours, as somebody could who stole them, it is still theirs that signed.
    shutil.rmtree(folder)
    signer = tenant.signers["model"]
    sealed_as(station, folder, bundle, signer)

    # Off.
    anybody = {signer.key_id: signer.public_key}
    assert (
        read_bundle(folder, theirs, KIND, tuple(PREDICATE_TYPES), anybody, cipher_of(station, theirs)).files == bundle.files
    )

    # On.
    with pytest.raises(SignatureInvalid, match="no trusted key"):
        open_model(station, theirs)


def test_a_copied_disk_shows_a_model_only_where_it_is_not_sealed(
    station: Station, model: OpenedModel, tmp_path: Path
) -> None:
    texts = [content[start : start + 24] for content in dump(model.forecaster).values() for start in (0, len(content) // 2)]

    # Off: the same files in a folder, signed and not encrypted.
    plain = tmp_path / "plain"
    plain.mkdir()
    for name, content in dump(model.forecaster).items():
        (plain / name).write_bytes(content)
    seal_folder(plain, KIND, {"snapshot": "s"}, station.signers["model"])
    assert all(text in everything_in(plain) for text in texts)

    # On: not a word, and without the keys nobody opens it.
    shutil.copytree(station.home, tmp_path / "copy", ignore=shutil.ignore_patterns("keys"))
    copied = everything_in(tmp_path / "copy" / "models")
    assert not any(text in copied for text in texts)
    assert not any(known in copied for known in (b"scale_mw", b"golden", b"in-toto", b"requested_by"))
    thief = station_at(tmp_path / "copy")
    with pytest.raises(DecryptionRefused):
        read_model(thief, model.model_id)
    thief.engine.dispose()


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_statement_about_another_bundle_vouches_for_this_one_only_where_its_subject_is_not_read(
    station: Station, model: OpenedModel
) -> None:
    failed, passed = (sealed_again(station, model, name) for name in ("failed", "passed"))
    attest_judged(station, failed, [GateResult("backtest", "failed", "worse than what serves")])
    envelope = read_model(station, passed).attestations[GATES]
    # On the disk alone, it does not even decrypt.
    before = (station.models / failed / f"{GATES}.dsse.json.sealed").read_bytes()
    shutil.copy(station.models / passed / f"{GATES}.dsse.json.sealed", station.models / failed)
    with pytest.raises(ContentChanged, match=r"gates\.dsse\.json"):
        read_model(station, failed)
    (station.models / failed / f"{GATES}.dsse.json.sealed").write_bytes(before)
    # With the station's own keys around the bundles it does.
    add_attestation(station.models / failed, failed, GATES, envelope, cipher_of(station, failed))
    bundle = read_model(station, failed)

    # Off: it is signed, and says PASSED.
    with transaction(station.engine) as session:
        trusted = trusted_keys(session, "model")
    assert b'"result":"PASSED"' in verify_statement(bundle.attestations[GATES], trusted, "x")

    # On.
    with pytest.raises(AttestationRefused, match="another bundle"):
        attested(station, bundle)
    with pytest.raises(AttestationRefused):
        promote_unattended(station, candidate_again(station, model, "failed"), by="mallory", at=AT)


def test_altered_provenance_is_believed_only_where_its_signature_is_not_checked(
    station: Station, model: OpenedModel
) -> None:
    bundle = read_model(station, model.model_id)
    envelope = json.loads(bundle.attestations[PROVENANCE])
    statement = base64.b64decode(envelope["payload"]).replace(b'"requested_by":"fixture"', b'"requested_by":"mallory"')
    altered = canonical_json({**envelope, "payload": base64.b64encode(statement).decode()})
    cipher = cipher_of(station, model.model_id)
    add_attestation(station.models / model.model_id, model.model_id, PROVENANCE, altered, cipher)
    found = read_model(station, model.model_id)

    # Off: whoever reads the payload is told another name.
    told = json.loads(base64.b64decode(json.loads(found.attestations[PROVENANCE])["payload"]))
    assert told["predicate"]["buildDefinition"]["externalParameters"]["requested_by"] == "mallory"

    # On.
    with pytest.raises(SignatureInvalid, match=f"model {model.model_id}, provenance"):
        attested(station, found)


def test_a_changed_model_whose_digest_nobody_compares_is_caught_by_its_golden_forecasts(
    station: Station, model: OpenedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = bundle_context(model.model_id) + b"\0model.json"
    cipher, path = cipher_of(station, model.model_id), station.models / model.model_id / "model.json.sealed"
    content = json.loads(cipher.decrypt(path.read_bytes(), context))
    content["scale_mw"] *= 1.1
    changed = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    path.write_bytes(cipher.encrypt(changed, context))
    # On: signed digests.
    with pytest.raises(ContentChanged, match=r"model\.json"):
        open_model(station, model.model_id)

    monkeypatch.setattr("security.sealed_bundle.require_content", lambda _file, _content: None)
    publishing._tried.clear()
    # The second line: another process finds that it answers otherwise.
    with pytest.raises(ModelFileRefused, match="golden forecast"):
        open_model(station, model.model_id)

    # Off: neither, and it answers otherwise by ten megawatts in a thousand.
    monkeypatch.setattr(publishing, "try_bundle", lambda _: None)
    opened = open_model(station, model.model_id)
    assert model.golden is not None
    assert np.abs(answers(opened.forecaster, model.golden) - model.golden.expected).mean() > 5
    publishing._tried.clear()
