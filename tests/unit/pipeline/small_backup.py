"""A station of a few files, and a folder of backups of it: quick enough for every test to have its own."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from pipeline.backup.create import KEY_FILE, Created, create
from pipeline.backup.prune import Pruned, prune
from pipeline.backup.restore import Restored, restore
from pipeline.backup.verify import Trust, Verified, verify
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from security import encryption
from security.backup_keys import BackupKeys, load_backup_keys
from security.master_key import Protection

PASSPHRASE = SecretStr("six quiet words of a test")
BY = "ida"


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying a passphrase takes half a second on purpose, and waiting for a busy disk proves nothing without a power cut."""
    monkeypatch.setattr(encryption, "derive_key", lambda words, salt: hashlib.sha256(words.encode() + salt).digest())
    monkeypatch.setattr(os, "fsync", lambda _: None)


@dataclass(frozen=True)
class Yard:
    """A station at `home` and backups of it at `folder`."""

    home: Path
    folder: Path

    @classmethod
    def at(cls, place: Path, megabytes: float = 0.2) -> Yard:
        """With random readings, one file of them larger than a chunk when `megabytes` is above 1."""
        yard = cls(place / "home", place / "backups of it")
        yard.station().engine.dispose()
        random = np.random.default_rng(1)
        for name, size in (
            ("lake/weather/provider=x/weather.parquet", megabytes),
            ("lake/utility.json", 0.001),
            ("models/m1/model.txt", 0.1),
        ):
            path = yard.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(random.bytes(int(size * 2**20)))
        return yard

    def station(self) -> Station:
        return open_station(Settings(home=self.home))

    @property
    def keys(self) -> BackupKeys:
        return load_backup_keys(self.home / "keys" / KEY_FILE, PASSPHRASE)

    def create(self, lock_days: int = 0) -> Created:
        station = self.station()
        try:
            return create(station, self.folder, PASSPHRASE, lock_days=lock_days, by=BY)
        finally:
            station.engine.dispose()

    def verify(self, *, witnessed: bool = False, expected: str = "") -> Verified:
        """By the keys alone, or with the station's audit log as witness."""
        station = self.station() if witnessed else None
        try:
            return verify(self.folder, Trust(self.keys, station, expected), by=BY)
        finally:
            if station is not None:
                station.engine.dispose()

    def restore(self, out: Path, sequence: int | None = None) -> Restored:
        return restore(self.folder, out, Trust(self.keys), Protection(), sequence=sequence, by=BY)

    def prune(self, keep: int) -> Pruned:
        station = self.station()
        try:
            return prune(station, self.folder, self.keys, keep=keep, by=BY)
        finally:
            station.engine.dispose()

    def change(self, seed: int) -> None:
        """Other readings than before, in the first bytes only."""
        path = self.home / "lake/weather/provider=x/weather.parquet"
        draft = path.with_suffix(".draft")
        shutil.copy(path, draft)
        with draft.open("r+b") as stream:
            stream.write(np.random.default_rng(seed).bytes(1000))
        draft.replace(path)

    def files(self, home: Path | None = None) -> dict[str, str]:
        """Digest of every file that a backup takes as it is."""
        top = home or self.home
        return {
            str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest()
            for folder in ("readings", "models")
            for path in sorted((top / folder).rglob("*"))
            if path.is_file()
        }
