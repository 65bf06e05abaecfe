"""Training data altered at rest (AML.T0020, AML.T0059): unseen by whoever just reads it, refused by whoever restores it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.snapshots import Snapshot, freeze, restore
from security.errors import ContentChanged, SignatureInvalid
from security.signing import new_signer, open_folder, seal_folder

SIGNER = new_signer()
TRUSTED = {SIGNER.key_id: SIGNER.public_key}
INDEX = pd.date_range("2013-01-01", periods=500, freq="30min", tz="UTC", name="timestamp")
RANDOM = np.random.default_rng(1)
TRAINING = pd.DataFrame(
    {"demand_mw": RANDOM.uniform(3000, 9000, 500), "temperature_c": RANDOM.uniform(5, 35, 500)}, index=INDEX
)
READINGS = pd.DataFrame({"aurora": TRAINING["temperature_c"]}, index=INDEX)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def frozen(store: Path) -> Snapshot:
    return freeze(store, TRAINING, READINGS, {"as_of": "2013-02-01"}, SIGNER)


def just_read(store: Path, snapshot_id: str) -> pd.DataFrame:
    """The safeguard off: the file is parsed and believed."""
    return pd.read_parquet(store / snapshot_id / "training.parquet").set_index("timestamp")


def position_of(value: float, content: bytes) -> int:
    """Where one measured number stands in the file; its lowest byte first."""
    place = content.find(np.float64(value).tobytes())
    assert place > 0
    return place


def test_a_flipped_bit_changes_a_value_without_a_word_and_is_refused_on_restoring(store: Path, frozen: Snapshot):
    path = store / frozen.snapshot_id / "training.parquet"
    content = bytearray(path.read_bytes())
    content[position_of(TRAINING["temperature_c"].iloc[100], bytes(content)) + 6] ^= 0b100
    path.write_bytes(content)

    poisoned = just_read(store, frozen.snapshot_id)
    changed = (poisoned != TRAINING).to_numpy()
    assert changed.sum() == 1
    assert abs(poisoned.to_numpy()[changed] - TRAINING.to_numpy()[changed])[0] > 1

    with pytest.raises(ContentChanged, match=r"training\.parquet"):
        restore(store, frozen.snapshot_id, TRUSTED)


def test_training_data_rewritten_whole_wins_unchecked_and_loses_against_the_manifest(store: Path, frozen: Snapshot):
    lie = TRAINING.assign(temperature_c=TRAINING["temperature_c"] + 2.5)
    lie.reset_index().to_parquet(store / frozen.snapshot_id / "training.parquet", index=False)
    assert (just_read(store, frozen.snapshot_id)["temperature_c"] > TRAINING["temperature_c"]).all()
    with pytest.raises(ContentChanged):
        restore(store, frozen.snapshot_id, TRUSTED)


def test_sealing_the_lie_with_ones_own_key_does_not_help(store: Path, frozen: Snapshot):
    folder = store / frozen.snapshot_id
    (TRAINING * 1.1).reset_index().to_parquet(folder / "training.parquet", index=False)
    mallory = new_signer()
    seal_folder(folder, "training-snapshot", {"as_of": "2013-02-01"}, mallory)
    assert open_folder(folder, "training-snapshot", {mallory.key_id: mallory.public_key})
    with pytest.raises(SignatureInvalid):
        restore(store, frozen.snapshot_id, TRUSTED)


def test_an_old_poisoned_snapshot_under_a_clean_ones_name_wins_on_its_signature_and_loses_on_its_name(
    store: Path, frozen: Snapshot
):
    poisoned = freeze(store, TRAINING + 3.0, READINGS, {"as_of": "2013-02-01"}, SIGNER)
    shutil.rmtree(store / frozen.snapshot_id)
    (store / poisoned.snapshot_id).rename(store / frozen.snapshot_id)

    # Signed by us and whole, so that the signature alone lets it pass.
    assert open_folder(store / frozen.snapshot_id, "training-snapshot", TRUSTED)
    assert (just_read(store, frozen.snapshot_id) == TRAINING + 3.0).all().all()

    with pytest.raises(ContentChanged, match=poisoned.snapshot_id):
        restore(store, frozen.snapshot_id, TRUSTED)


def test_a_path_out_of_the_store_is_no_name_of_a_snapshot(store: Path, frozen: Snapshot, tmp_path: Path):
    shutil.copytree(store / frozen.snapshot_id, tmp_path / "elsewhere")
    with pytest.raises(ContentChanged):
        restore(store, "../elsewhere", TRUSTED)


def test_a_link_in_place_of_the_training_data_is_refused(store: Path, frozen: Snapshot, tmp_path: Path):
    path = store / frozen.snapshot_id / "training.parquet"
    shutil.move(path, tmp_path / "training.parquet")
    path.symlink_to(tmp_path / "training.parquet")
    assert len(just_read(store, frozen.snapshot_id)) == 500
    with pytest.raises(ContentChanged, match="symlink"):
        restore(store, frozen.snapshot_id, TRUSTED)
