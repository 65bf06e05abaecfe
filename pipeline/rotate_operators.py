"""Change who decides about releases: operators leave and come, and the online key is replaced; root after root.

Enough of the operators before and enough of those after have to say the same. A lost key: the other two take it out and a
new one in. The online key was stolen: two operators put a new one in its place, and what the old one signed counts no more.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from sqlmodel import select

from pipeline.database import transaction
from pipeline.errors import NoActiveModel
from pipeline.promotion import DEMO_OPERATORS, chest_name
from pipeline.release_pins import least_versions, pinned, raise_pin
from pipeline.releases import ONLINE, online_signer, repository_of
from pipeline.station import OWNER, Station, note, witness
from security.audit_log import AuditEntry, append
from security.keyring import register_key
from security.release_files import online_keys, read_roots
from security.release_repository import renew
from security.release_root import operators_in
from security.release_rotation import Rotation, propose_root, publish_root, rotation
from security.releases import NotAnOperator, NothingProposed, Versions
from security.signing import PublicKey, Signer

NEXT_ONLINE = "registry-next"
ROTATED = "root.rotated"


def propose_rotation(
    station: Station,
    signer: Signer,
    *,
    out: Collection[str] = (),
    into: Mapping[str, PublicKey] | None = None,
    new_online: bool = False,
    at: datetime,
    replace: bool = False,
) -> Rotation:
    """Sign, as an operator of today or of tomorrow, that these leave and come, and that the station makes a new online key.

    replace: drop what was staged instead. Raises NotAnOperator (noted), KeyringError for operators that could not decide
    safely, ReleaseConflict.
    """
    online = station.chest.signer(NEXT_ONLINE).public_key if new_online else None
    try:
        staged = propose_root(
            repository_of(station), signer, datetime.now(UTC), out=out, into=into, online=online, replace=replace
        )
    except NotAnOperator as error:
        denied = {"why": error.problem, "key": signer.key_id}
        note(station, actor=f"key {signer.key_id}", action="access.denied", subject="registry", details=denied, at=at)
        raise
    details = {"out": list(staged.out), "into": list(staged.into), "new_online_key": staged.new_online_key}
    note(station, actor=f"key {signer.key_id}", action="root.approved", subject="registry", details=details, at=at)
    return staged


def waiting_rotation(station: Station) -> Rotation | None:
    """The rotation that operators were asked to sign, if any."""
    return rotation(repository_of(station), datetime.now(UTC))


def publish_rotation(station: Station, *, by: str, at: datetime) -> Versions:
    """Put the rotation that enough operators signed in force; demo operators who left lose their keys here too.

    Killed anywhere, running it again ends it. Raises ApprovalsMissing, NothingProposed, and NoActiveModel before the first
    model.
    """
    with transaction(station.engine) as session:
        pin = pinned(session)
    if pin is None:
        raise NoActiveModel
    folder, now, staged = repository_of(station), datetime.now(UTC), waiting_rotation(station)
    if staged is None and not _noted(station):
        # Killed after the new root stood and before the station had taken note of it.
        online = station.chest.signer(NEXT_ONLINE if _took_place(station) else ONLINE)
        with suppress(NothingProposed):
            # It clears up what was staged, where it was killed before it did.
            publish_root(folder, online, now, minimum=least_versions(station.chest, pin))
        versions = renew(folder, online, now, least_versions(station.chest, pin))
    elif staged is not None and staged.new_online_key:
        # A station that was restored without its keys has not the online key that is replaced.
        retiring = online_signer(station) if is_in_force(station, online_signer(station)) else None
        next_online = station.chest.signer(NEXT_ONLINE)
        versions = publish_root(folder, next_online, now, retiring=retiring, minimum=least_versions(station.chest, pin))
    else:
        versions = publish_root(folder, online_signer(station), now, minimum=least_versions(station.chest, pin))
    _settle(station, versions, by=by, at=at)
    return versions


def _noted(station: Station) -> bool:
    """Whether the root in force was entered in the audit log, the last thing that is done about it."""
    with transaction(station.engine) as session:
        entries = session.exec(select(AuditEntry.details).where(AuditEntry.action == ROTATED)).all()
    founded = 1
    return max(read_roots(repository_of(station))) in {founded, *(json.loads(details)["root"] for details in entries)}


def _took_place(station: Station) -> bool:
    """Whether the new online key is the one in force already."""
    return station.chest.has(NEXT_ONLINE) and is_in_force(station, station.chest.signer(NEXT_ONLINE))


def is_in_force(station: Station, signer: Signer) -> bool:
    """Whether this is the online key that the root in force names."""
    roots = read_roots(repository_of(station))
    return online_keys(roots[max(roots)]) == {signer.key_id}


def _settle(station: Station, versions: Versions, *, by: str, at: datetime) -> None:
    """What the new root says, in the chest, the pins, the register of keys and the audit log."""
    if _took_place(station):
        station.chest.rename(NEXT_ONLINE, ONLINE)
    roots = read_roots(repository_of(station))
    operators = set(operators_in(roots[max(roots)]))
    for name in DEMO_OPERATORS:
        if station.chest.has(chest_name(name)) and station.chest.signer(chest_name(name)).key_id not in operators:
            station.chest.remove(chest_name(name))
    online = online_signer(station)
    with transaction(station.engine) as session:
        raise_pin(session, station.chest, versions)
        register_key(
            session, purpose="registry", owner=OWNER, public_key=online.public_key, by=by, reason="online key", at=at
        )
        append(session, actor=by, action=ROTATED, subject="registry", details={"root": versions.root}, at=at)
    witness(station, at)
