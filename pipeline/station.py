"""One installation: its folders, its database, its own signing keys, its audit log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from data.lake.store import Lake, lake_in
from forecasting.ensemble import ENSEMBLE
from pipeline.database import PATIENCE_SECONDS, make_engine, transaction
from pipeline.settings import Settings
from security.audit_heads import head_signed, sign_head
from security.audit_log import append
from security.bundle_keys import BundleKeys
from security.key_chest import KeyChest, open_chest
from security.keyring import Purpose, register_key
from security.kms import vault_key
from security.master_key import Protection
from security.signing import Signer

OWN_KEYS: tuple[Purpose, ...] = ("model", "snapshot", "token", "audit", "registry")
OWNER = "station"
KEYS = "keys"
REGISTRY = "registry"


@dataclass(frozen=True)
class Station:
    """What every stage works on. Readings, snapshots and models are folders below `home`;
    forecaster: what is trained, as `forecasting.ensemble.forecaster_named` names it; lake_url: an object store for the
    readings' tables, empty for a folder below `home`; audit_witness: a second file of signed heads, None for none.
    """

    home: Path
    engine: Engine
    signers: Mapping[Purpose, Signer]
    chest: KeyChest
    forecaster: str = ENSEMBLE
    lake_url: str = ""
    audit_witness: Path | None = None

    @property
    def bundle_keys(self) -> BundleKeys:
        """What opens the bundles, as it is at this moment; see `KeyChest.held`."""
        return self.chest.bundle_keys()

    @property
    def readings(self) -> Path:
        """Whose readings these are, and the lake they stand in unless it is an object store."""
        return self.home / "lake"

    @property
    def lake(self) -> Lake:
        """The tables of verified readings."""
        lock = self.home / ".lake.lock"
        return Lake(self.lake_url, lock) if self.lake_url else lake_in(self.readings, lock)

    @property
    def snapshots(self) -> Path:
        """Frozen training sets, one folder each."""
        return self.home / "snapshots"

    @property
    def models(self) -> Path:
        """Sealed model bundles, one folder each."""
        return self.home / "models"

    @property
    def release_client(self) -> Path:
        """What the client of the releases remembers; the database remembers what must survive its loss."""
        return self.home / "registry-client"

    @property
    def audit_heads(self) -> Path:
        """Signed heads of the audit log; to be kept on another disk or host in earnest."""
        return self.home / "audit-heads.jsonl"


def open_station(settings: Settings, patience_seconds: float = PATIENCE_SECONDS) -> Station:
    """Open an installation, making its folders, schema and keys at the first time.

    patience_seconds: how long the database is waited for. Raises as `open_chest` and `make_engine`.
    """
    chest = open_chest(settings.home / KEYS, protection_in(settings))
    signers = {purpose: chest.signer(purpose) for purpose in OWN_KEYS}
    engine = make_engine(
        settings.database_url.get_secret_value(), settings.home, patience_seconds, may_upgrade=settings.upgrade_database
    )
    forecaster, lake_url, witness_file = settings.forecaster, settings.lake_url, settings.audit_witness
    station = Station(settings.home, engine, signers, chest, forecaster, lake_url, witness_file)
    now = datetime.now(UTC)
    with transaction(engine) as session:
        for purpose, signer in signers.items():
            register_key(
                session, purpose=purpose, owner=OWNER, public_key=signer.public_key, by=OWNER, reason="own key", at=now
            )
    return station


def protection_in(settings: Settings) -> Protection:
    """What protects the master key, as the settings say. Raises UnavailableError for a KMS without a token."""
    return Protection(
        settings.key_passphrase, vault_key(settings.kms_uri, settings.vault_token) if settings.kms_uri else None
    )


def note(station: Station, *, actor: str, action: str, subject: str, details: Mapping[str, object], at: datetime) -> None:
    """Write one act to the audit log and sign its new head."""
    with transaction(station.engine) as session:
        append(session, actor=actor, action=action, subject=subject, details=details, at=at)
    witness(station, at)


def witness(station: Station, at: datetime) -> None:
    """Sign the head of the audit log as it stands; to be called after the commit of what was appended."""
    with transaction(station.engine) as session:
        sign_head(session, station.signers["audit"], station.audit_heads, at, station.audit_witness)


def catch_up(station: Station, at: datetime) -> None:
    """Sign the head of the audit log if its last entry is unsigned: the process that wrote it may have been killed."""
    with transaction(station.engine) as session:
        if not head_signed(session, station.audit_heads):
            sign_head(session, station.signers["audit"], station.audit_heads, at, station.audit_witness)
