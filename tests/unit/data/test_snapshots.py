"""Frozen training sets: named by their content, and opened only as they were sealed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.snapshots import Snapshot, freeze, restore
from security.errors import ContentChanged, IntegrityError, SignatureInvalid
from security.signing import new_signer, seal_folder

SIGNER = new_signer()
TRUSTED = {SIGNER.key_id: SIGNER.public_key}
INDEX = pd.date_range("2013-01-01", periods=96, freq="30min", tz="UTC", name="timestamp")
TRAINING = pd.DataFrame({"demand_mw": np.arange(96.0), "temperature_c": [np.nan, *np.arange(95.0)]}, index=INDEX)
READINGS = pd.DataFrame({"aurora": 1.5, "boreas": np.nan}, index=INDEX)
FACTS = {"as_of": "2013-01-03T00:00:00Z", "excluded": {"boreas": "2013-01-01"}}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def frozen(store: Path) -> Snapshot:
    return freeze(store, TRAINING, READINGS, FACTS, SIGNER)


def test_what_was_frozen_is_restored(store: Path, frozen: Snapshot):
    restored = restore(store, frozen.snapshot_id, TRUSTED)
    pd.testing.assert_frame_equal(restored.training, TRAINING, check_freq=False)
    pd.testing.assert_frame_equal(restored.readings, READINGS, check_freq=False)
    assert restored.facts == FACTS
    assert restored.snapshot_id == frozen.snapshot_id


def test_the_same_content_twice_is_one_snapshot(store: Path, frozen: Snapshot):
    again = freeze(store, TRAINING.copy(), READINGS, dict(FACTS), SIGNER)
    assert again.snapshot_id == frozen.snapshot_id
    assert [path.name for path in store.iterdir()] == [frozen.snapshot_id]


@pytest.mark.parametrize(
    ("training", "readings", "facts"),
    [(TRAINING + 1e-9, READINGS, FACTS), (TRAINING, READINGS.rename(columns=str.upper), FACTS), (TRAINING, READINGS, {})],
)
def test_any_other_content_has_another_name(
    store: Path, frozen: Snapshot, training: pd.DataFrame, readings: pd.DataFrame, facts: dict[str, str]
):
    assert freeze(store, training, readings, facts, SIGNER).snapshot_id != frozen.snapshot_id


def test_a_failed_freeze_leaves_nothing_behind(store: Path):
    with pytest.raises((TypeError, ValueError)):
        freeze(store, TRAINING, READINGS, {"as_of": object()}, SIGNER)
    assert list(store.iterdir()) == []


@pytest.mark.parametrize("name", ["training.parquet", "readings.parquet"])
def test_one_changed_byte_is_refused_and_the_file_named(store: Path, frozen: Snapshot, name: str):
    path = store / frozen.snapshot_id / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ContentChanged, match=name):
        restore(store, frozen.snapshot_id, TRUSTED)


def test_a_snapshot_of_a_key_that_is_not_trusted_is_refused(store: Path, frozen: Snapshot):
    stranger = new_signer()
    with pytest.raises(SignatureInvalid):
        restore(store, frozen.snapshot_id, {stranger.key_id: stranger.public_key})


def test_a_sealed_folder_of_another_kind_is_refused(store: Path):
    folder = store / "model"
    folder.mkdir(parents=True)
    TRAINING.to_parquet(folder / "training.parquet")
    seal_folder(folder, "model", {}, SIGNER)
    with pytest.raises(IntegrityError, match="sealed as model"):
        restore(store, "model", TRUSTED)


def test_a_snapshot_that_is_not_there_is_refused(store: Path, frozen: Snapshot):
    with pytest.raises(ContentChanged, match="missing"):
        restore(store, frozen.snapshot_id[::-1], TRUSTED)
