"""A release repository with three operators, for tests of what it refuses."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tuf.api.metadata import Metadata, Targets  # type: ignore[attr-defined]

from security.release_client import Releases, trusted_releases
from security.release_files import commit, read_state, signed_by, write_release
from security.release_repository import Proposal, found, propose, publish
from security.releases import NO_MINIMUM, Release, Versions
from security.signing import Signer, new_signer

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OLD, GOOD, EVIL = "0" * 64, "a" * 64, "e" * 64


@dataclass
class SmallRegistry:
    """The repository's folder, who may sign, and one client's folder."""

    folder: Path
    client: Path
    operators: dict[str, Signer]
    online: Signer
    bootstrap: bytes

    @classmethod
    def at(cls, home: Path) -> SmallRegistry:
        operators = {name: new_signer() for name in ("ann", "bob", "cy")}
        online = new_signer()
        public_keys = {name: signer.public_key for name, signer in operators.items()}
        bootstrap = found(home / "registry", public_keys, [operators["ann"], operators["bob"]], online, NOW)
        return cls(home / "registry", home / "client", operators, online, bootstrap)

    def propose(self, by: str, changes: dict[str, str | None], now: datetime = NOW, *, replace: bool = False) -> Proposal:
        return propose(self.folder, changes, self.operators[by], now, replace=replace)

    def promote(self, model: str, now: datetime = NOW, by: tuple[str, ...] = ("ann", "bob")) -> Versions:
        """Approve a model as main, by these operators, and publish it."""
        for name in by:
            self.propose(name, {"main": model}, now)
        return publish(self.folder, self.online, now)

    def refresh(self, minimum: Versions = NO_MINIMUM, now: datetime = NOW) -> Releases:
        return trusted_releases(self.folder, self.client, self.bootstrap, minimum, now)

    def main(self, minimum: Versions = NO_MINIMUM, now: datetime = NOW) -> str:
        """The model that the client would run."""
        return self.refresh(minimum, now).by_role["main"].model

    def wipe_client(self) -> None:
        shutil.rmtree(self.client)

    def copy_to(self, place: Path) -> Path:
        """The repository as it is now, for an attacker to bring back later."""
        return Path(shutil.copytree(self.folder, place))

    def twin(self, home: Path) -> SmallRegistry:
        """The same repository and client in other folders, for another course of events."""
        shutil.copytree(self.folder, home / "registry")
        shutil.copytree(self.client, home / "client", symlinks=True)
        return replace(self, folder=home / "registry", client=home / "client")

    def bring_back(self, copy: Path) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(copy, self.folder)

    def force(self, model: str, by: tuple[Signer, ...], now: datetime = NOW) -> Metadata[Targets]:
        """Put a model in force, whoever signed: what somebody can who holds the online key and the disk."""
        state = read_state(self.folder)
        version = state.versions.targets + 1
        target = write_release(self.folder, Release("main", model, version))
        targets = signed_by(Targets(version, expires=now + 30 * DAY, targets={"main.json": target}), by)
        commit(self.folder, targets, state.versions, [self.online], now)
        return targets
