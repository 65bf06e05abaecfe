"""An opened model published again under other facts: another bundle of the same forecaster, without training anew."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlmodel import col, select

from pipeline import registry
from pipeline.database import transaction
from pipeline.promotion import DEMO_OPERATORS, activate_noted, chest_name, promote_unattended
from pipeline.publish import OpenedModel, publish
from pipeline.release_pins import pinned
from pipeline.releases import online_signer, repository_of
from pipeline.rotate_operators import propose_rotation, publish_rotation
from pipeline.station import Station
from security import release_repository
from security.audit_log import AuditEntry
from security.bundle_keys import bundle_context, write_wrapped
from security.manifest import MANIFEST_NAME
from security.sealed_bundle import KEY_FILE, SealedBundle
from security.signing import Signer, new_signer, sign_statement

AT = datetime(2023, 6, 2, tzinfo=UTC)
BY = "olga"
SNAPSHOT_DIGEST = "5" * 64
REAL_OPERATORS = ("ann", "bob", "cy")


def sealed_again(station: Station, model: OpenedModel, snapshot: str, role: str = "main") -> str:
    """Publish the bundle and nothing else; answers its id."""
    assert model.golden is not None
    facts = {"snapshot": snapshot, "weather": model.contract.to_json(), "as_of": model.as_of.isoformat()}
    return publish(station, model.forecaster, role, model.golden.known, facts, {"snapshot": SNAPSHOT_DIGEST})


def candidate_again(station: Station, model: OpenedModel, snapshot: str, role: str = "main") -> str:
    """Publish the bundle and enter it as a candidate; answers its id."""
    model_id = sealed_again(station, model, snapshot, role)
    record = registry.ModelRecord(
        model_id=model_id,
        role=role,
        forecaster=model.forecaster.name,
        state=registry.CANDIDATE,
        snapshot_id=snapshot,
        weather_policy="multi-source",
        as_of=AT,
        published_at=AT,
        published_by=BY,
    )
    with transaction(station.engine) as session:
        registry.enter(session, record)
    return model_id


def in_service_again(station: Station, model: OpenedModel, snapshot: str, role: str = "main") -> str:
    """Publish the bundle and put it in service as the schedule does; answers its id."""
    model_id = candidate_again(station, model, snapshot, role)
    assert promote_unattended(station, model_id, by=BY, at=AT)
    with transaction(station.engine) as session:
        activate_noted(session, model_id, by=BY, at=AT)
    return model_id


def sealed_as(station: Station, folder: Path, bundle: SealedBundle, signer: Signer) -> None:
    """Lay a bundle into a folder of another name, encrypted for that name: what the station's own keys allow."""
    folder.mkdir()
    context = bundle_context(folder.name)
    cipher, wrapped = station.bundle_keys.new_data_key(context)
    detached = {f"{kind}.dsse.json": envelope for kind, envelope in bundle.attestations.items()}
    content = {**bundle.files, **detached, MANIFEST_NAME: sign_statement(bundle.manifest.to_bytes(), signer)}
    for name, plain in content.items():
        (folder / f"{name}.sealed").write_bytes(cipher.encrypt(plain, context + b"\0" + name.encode()))
    write_wrapped(folder / KEY_FILE, wrapped)


def demo_operators(station: Station) -> list[Signer]:
    """The keys of the three, as the station's chest keeps them."""
    return [station.chest.signer(chest_name(name)) for name in DEMO_OPERATORS]


def hand_over(station: Station) -> dict[str, Signer]:
    """Three real operators take the places of the demo ones; answers their keys, which are nowhere in the station."""
    real = {name: new_signer() for name in REAL_OPERATORS}
    into = {name: signer.public_key for name, signer in real.items()}
    for signer in (*demo_operators(station)[:2], real["ann"], real["bob"]):
        propose_rotation(station, signer, out=DEMO_OPERATORS, into=into, at=AT)
    publish_rotation(station, by=BY, at=AT)
    return real


def no_release(station: Station, role: str) -> None:
    """Two demo operators take a role out of the releases."""
    with transaction(station.engine) as session:
        pin = pinned(session)
    assert pin is not None
    now = datetime.now(UTC)
    for signer in demo_operators(station)[:2]:
        release_repository.propose(repository_of(station), {role: None}, signer, now)
    release_repository.publish(repository_of(station), online_signer(station), now, pin.versions)


def acts(station: Station, action: str) -> list[AuditEntry]:
    """The audit log's entries of one kind, the oldest first."""
    with transaction(station.engine) as session:
        return [entry for entry in session.exec(select(AuditEntry).order_by(col(AuditEntry.seq))) if entry.action == action]


def states(station: Station) -> dict[str, str]:
    """Every model's state in the registry."""
    with transaction(station.engine) as session:
        return {entry.model_id: entry.state for entry in registry.listing(session)}
