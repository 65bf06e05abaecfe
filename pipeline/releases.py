"""What may run: the releases that the operators approved, as this station believes them, and the registry that follows.

    1. the TUF client refreshes from the repository and refuses what was rolled back, frozen, mixed or not approved
    2. the versions found are held against the highest ones ever seen, which the database remembers: a client directory
       that was wiped forgets, the database does not
    3. the registry's states are brought in line: TUF decides, the table follows

Where this machine keeps the online key, the newest state is signed anew before it runs out. TUF goes by the real clock, also
in a replay. Controls: AML.T0010.003, AML.T0018.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from pipeline import registry
from pipeline.database import transaction
from pipeline.errors import NoActiveModel
from pipeline.publish import OpenedModel, open_bundle, read_model, role_of
from pipeline.release_pins import least_versions, pinned, raise_pin, seal_pin
from pipeline.station import REGISTRY, Station, witness
from security.audit_log import append
from security.errors import UnavailableError
from security.release_client import Releases, trusted_releases
from security.release_repository import renew
from security.releases import NotAnOperator, Release, ReleaseRefused, Versions
from security.sealed_bundle import BundleSwapped, id_of
from security.signing import Signer

ONLINE = "registry"


def repository_of(station: Station) -> Path:
    """The folder of the TUF repository."""
    return station.home / REGISTRY


def online_signer(station: Station) -> Signer:
    """The key that says which state is newest, as the chest holds it now: it may have been replaced since the start."""
    return station.chest.signer(ONLINE)


def believed(station: Station, now: datetime | None = None) -> Releases:
    """The releases in force, verified by root version 1 and held against the pinned versions, which are raised.

    now: the moment to judge expiry by; default: the real clock. Raises NoActiveModel before the first release, and
    ReleaseRefused.
    """
    with transaction(station.engine) as session:
        pin = pinned(session)
    if pin is None:
        raise NoActiveModel
    least = least_versions(station.chest, pin)
    _kept_fresh(station, least, now or datetime.now(UTC))
    bootstrap = pin.bootstrap.encode("utf-8")
    found = trusted_releases(repository_of(station), station.release_client, bootstrap, least, now)
    if found.versions != least:
        with transaction(station.engine) as session:
            raise_pin(session, station.chest, found.versions)
    return found


def follow_releases(station: Station, at: datetime) -> Mapping[str, Release]:
    """The releases in force by role; the registry's states are brought in line with them first.

    A process that was killed between publishing a release and entering it is caught up with here. at: for the audit log.
    Raises as `believed`, and PipelineError for a release of a model that was revoked.
    """
    released = believed(station).by_role
    followed = False
    with transaction(station.engine) as session:
        for role, release in released.items():
            model_id = id_of(release.model)
            if registry.active_id(session, role) != model_id:
                registry.activate(session, model_id)
                details = {"role": role, "release": release.version, "why": "the releases say so"}
                append(session, actor="registry", action="model.activated", subject=model_id, details=details, at=at)
                followed = True
            registry.require_releasable(session, model_id)
    if followed:
        witness(station, at)
    return released


def trust_restored(station: Station, *, by: str, reason: str, at: datetime) -> None:
    """Take the restored database's word for where trust begins, in the place of what the key chest remembers.

    For a backup beside keys that are newer than it: to the chest, the restored releases are rolled back. Whoever may open
    the chest decides it, and it stands in the audit log. Raises NoActiveModel.
    """
    with transaction(station.engine) as session:
        pin = pinned(session)
        if pin is None:
            raise NoActiveModel
        seal_pin(station.chest, pin)
        details = {"reason": reason, **asdict(pin.versions)}
        append(session, actor=by, action="registry.restored", subject="registry", details=details, at=at)
    witness(station, at)
    shutil.rmtree(station.release_client, ignore_errors=True)


def open_released(station: Station, release: Release) -> OpenedModel:
    """Open the model of a release: all 64 digits of its digest, and the role it was made for, have to be the release's.

    Raises as `open_model`, and BundleSwapped for another bundle or a bundle of another role.
    """
    bundle = read_model(station, id_of(release.model))
    if bundle.digest != release.model or role_of(bundle) != release.role:
        raise BundleSwapped(id_of(release.model))
    return open_bundle(bundle)


def _kept_fresh(station: Station, minimum: Versions, now: datetime) -> None:
    """Sign the newest state anew if it runs out soon and the online key is ours; otherwise the client has to judge it."""
    try:
        renew(repository_of(station), online_signer(station), now, minimum)
    except (NotAnOperator, ReleaseRefused, UnavailableError):
        # Not ours to sign, altered, or a disk that is full: what is there is judged as it is.
        return
