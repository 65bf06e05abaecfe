"""A lake of two providers and a demand, with a key of its own, that can be looked at and damaged."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from data.lake.appending import append
from data.lake.heads import NEVER, Acknowledged, digest_of
from data.lake.pins import Pin, pin_newest
from data.lake.reading import read
from data.lake.store import Lake, lake_in
from data.lake.tables import WEATHER, LakeTable
from security.keyring import load_or_create_signer
from security.signing import Signer, new_signer

START = pd.Timestamp("2024-01-30", tz="UTC")


def weather_rows(days: int = 4, providers: Sequence[str] = ("aurora", "boreas"), seed: int = 1) -> pd.DataFrame:
    """Hourly measurements, received an hour later, over the end of a month."""
    random = np.random.default_rng(seed)
    index = pd.date_range(START, periods=24 * days, freq="h", unit="us")
    frames = [
        pd.DataFrame(
            {
                "provider": name,
                "issued_at": index + pd.Timedelta(hours=1),
                "valid_at": index,
                "temperature_c": random.normal(15, 3, len(index)).round(1),
                "key_id": f"key-{name}",
                "payload_sha256": "ab" * 32,
            }
        )
        for name in providers
    ]
    return pd.concat(frames, ignore_index=True)


@dataclass
class Pond:
    """A lake in a folder. known: what was acknowledged of each table."""

    folder: Path
    signer: Signer = field(default_factory=new_signer)
    known: dict[str, Acknowledged] = field(default_factory=dict)

    @property
    def lake(self) -> Lake:
        return lake_in(self.folder / "lake", self.folder / "lock")

    @property
    def trusted(self) -> dict[str, object]:
        return {self.signer.key_id: self.signer.public_key}

    def table(self, table: LakeTable = WEATHER) -> Path:
        return self.folder / "lake" / table.name

    def append(self, frame: pd.DataFrame, table: LakeTable = WEATHER, signer: Signer | None = None) -> Pin:
        pin = append(self.lake, table, frame, self.known.get(table.name, NEVER), signer or self.signer, self.trusted)
        self.known[table.name] = Acknowledged(pin.version, digest_of(pin.files))
        return pin

    def pin(self, table: LakeTable = WEATHER) -> Pin:
        return pin_newest(self.lake, table, self.known.get(table.name, NEVER), self.trusted)

    def read(self, table: LakeTable = WEATHER, **chosen: object) -> pd.DataFrame:
        return read(self.lake, table, self.pin(table), **chosen)

    def files(self, table: LakeTable = WEATHER) -> list[Path]:
        return sorted(self.table(table).glob("*/*/*.parquet"))


def add_for_ever(folder: Path) -> None:
    """Add batch after batch, and write down each that was added; whoever kills this process looks what became of it."""
    pond = Pond(folder, signer=load_or_create_signer(folder, "snapshot"))
    acknowledged = folder / "acknowledged"
    for number in range(len(acknowledged.read_text().split()) if acknowledged.exists() else 0, 10_000):
        pond.append(weather_rows(days=2, seed=number))
        with acknowledged.open("a") as stream:
            stream.write(f"{number}\n")


if __name__ == "__main__":
    add_for_ever(Path(sys.argv[1]))
