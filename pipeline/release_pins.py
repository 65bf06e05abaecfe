"""Where trust in releases begins, and the versions below which nothing is believed again: one row of the database.

It survives a client directory that was wiped, which TUF's own memory does not. The key chest keeps the same, so that who can
write to the database alone, or to the whole disk without opening the chest, begins no trust of their own (AML.T0010.003).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

from sqlmodel import Field, Session, SQLModel

from security.key_chest import KeyChest
from security.manifest import canonical_json
from security.releases import ReleaseRefused, Versions

_ONLY = 1
_SEALED = "releases"


class ReleasePin(SQLModel, table=True):
    """Where trust in releases begins, and the versions below which nothing is believed again; one row.

    bootstrap: root version 1 as the station was founded with it.
    """

    __tablename__ = "release_pin"

    row: int = Field(primary_key=True)
    bootstrap: str
    root: int
    targets: int
    snapshot: int
    timestamp: int

    @property
    def versions(self) -> Versions:
        """The lowest versions that are believed."""
        return Versions(self.root, self.targets, self.snapshot, self.timestamp)


def pinned(session: Session) -> ReleasePin | None:
    """The pin of this station; None before it was founded."""
    return session.get(ReleasePin, _ONLY)


def pin_bootstrap(session: Session, chest: KeyChest, bootstrap: bytes) -> None:
    """Begin to trust: root version 1 of a repository that was just founded. Every later version is verified from it."""
    known = pinned(session)
    if known is not None:
        session.delete(known)
        session.flush()
    pin = ReleasePin(row=_ONLY, bootstrap=bootstrap.decode("utf-8"), root=1, targets=1, snapshot=1, timestamp=1)
    session.add(pin)
    seal_pin(chest, pin)
    session.flush()


def seal_pin(chest: KeyChest, pin: ReleasePin) -> None:
    """Keep in the chest what the database trusts: who can write to both and open neither changes nothing (AML.T0010.003)."""
    chest.keep(_SEALED, canonical_json({"bootstrap": _digest(pin), "versions": asdict(pin.versions)}))


def least_versions(chest: KeyChest, pin: ReleasePin) -> Versions:
    """The versions below which nothing is believed, by the database and by the chest, whichever is higher.

    Raises ReleaseRefused where the database trusts another root than the chest.
    """
    kept = chest.kept(_SEALED)
    sealed = {} if kept is None else json.loads(kept)
    if sealed.get("bootstrap") != _digest(pin):
        raise ReleaseRefused("altered", "the database trusts another root than the key chest", where="table release_pin")
    return newest(pin.versions, Versions(**sealed["versions"]))


def raise_pin(session: Session, chest: KeyChest, versions: Versions) -> None:
    """Remember the versions of a verified state; an older state that another process verified meanwhile lowers nothing."""
    pin = session.get_one(ReleasePin, _ONLY)
    pin.root, pin.targets, pin.snapshot, pin.timestamp = asdict(newest(pin.versions, versions)).values()
    session.add(pin)
    session.flush()
    seal_pin(chest, pin)


def newest(one: Versions, other: Versions) -> Versions:
    """The higher of each version. Where one root is newer, its versions of what the online key signs count: a new key may
    begin lower (TUF 5.3.11).
    """
    older, newer = sorted((one, other), key=lambda versions: versions.root)
    if newer.root > older.root:
        return replace(newer, targets=max(older.targets, newer.targets))
    return Versions(*(max(pair) for pair in zip(asdict(one).values(), asdict(other).values(), strict=True)))


def _digest(pin: ReleasePin) -> str:
    return hashlib.sha256(pin.bootstrap.encode("utf-8")).hexdigest()
