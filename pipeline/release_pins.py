"""Where trust in releases begins, and the versions below which nothing is believed again: one row of the database.

It survives a client directory that was wiped, which TUF's own memory does not (AML.T0010.003).
"""

from __future__ import annotations

from sqlmodel import Field, Session, SQLModel

from security.releases import Versions

_ONLY = 1


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


def pin_bootstrap(session: Session, bootstrap: bytes) -> None:
    """Begin to trust: root version 1 of a repository that was just founded. Every later version is verified from it."""
    unpin(session)
    session.add(ReleasePin(row=_ONLY, bootstrap=bootstrap.decode("utf-8"), root=1, targets=1, snapshot=1, timestamp=1))
    session.flush()


def unpin(session: Session) -> None:
    """Forget what was believed: the releases are founded anew."""
    pin = session.get(ReleasePin, _ONLY)
    if pin is not None:
        session.delete(pin)
        session.flush()


def raise_pin(session: Session, versions: Versions) -> None:
    """Remember the versions of a verified state; an older state that another process verified meanwhile lowers nothing.

    Where a newer root stands, its versions of what the online key signs count: a new key may begin lower (TUF 5.3.11).
    """
    pin = session.get_one(ReleasePin, _ONLY)
    if versions.root < pin.root:
        return
    anew = versions.root > pin.root
    pin.root = versions.root
    pin.targets = max(pin.targets, versions.targets)
    pin.snapshot = versions.snapshot if anew else max(pin.snapshot, versions.snapshot)
    pin.timestamp = versions.timestamp if anew else max(pin.timestamp, versions.timestamp)
    session.add(pin)
    session.flush()
