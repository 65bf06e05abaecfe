"""Rotation of the bundles' keys: nothing is encrypted again, nothing is lost, whenever it is interrupted."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import col, select

from pipeline.database import transaction
from pipeline.rotate_keys import Rotated, bundles_by_key, rotate_bundle_keys
from pipeline.station import Station
from security import _primitives, bundle_keys
from security.audit_log import AuditEntry
from security.encryption import DecryptionRefused
from security.errors import ContentChanged
from tests.unit.pipeline.small_backup import hurry
from tests.unit.pipeline.small_bundles import publish, read, station_at

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Station:
    hurry(monkeypatch)
    return station_at(tmp_path / "home")


def rotate(station: Station) -> Rotated:
    try:
        return rotate_bundle_keys(station, by="ida", at=NOW)
    finally:
        station.engine.dispose()


def last_entry(station: Station) -> AuditEntry:
    with transaction(station.engine) as session:
        entry = session.exec(select(AuditEntry).order_by(col(AuditEntry.seq).desc())).first()
    station.engine.dispose()
    assert entry is not None
    return entry


def test_after_a_rotation_every_bundle_opens_under_the_new_key_alone(station: Station) -> None:
    models = {publish(station, content): content for content in (b"one", b"two", b"three")}
    before = station.bundle_keys.primary_id
    assert bundles_by_key(station) == {before: 3}

    done = rotate(station)

    assert (done.dropped, done.resumed, sorted(done.rewrapped)) == ([before], False, sorted(models))
    assert bundles_by_key(station) == {done.primary_id: 3}
    assert station.bundle_keys.key_ids == [done.primary_id] != [before]
    assert {model_id: read(station, model_id) for model_id in models} == models
    entry = last_entry(station)
    assert (entry.action, entry.actor) == ("keys.rotated", "ida")
    assert json.loads(entry.details)["primary"] == done.primary_id


def test_a_rotation_writes_wrapped_keys_and_no_other_file_of_a_bundle(station: Station) -> None:
    publish(station, b"one")
    files = {path: path.read_bytes() for path in station.models.rglob("*") if path.is_file()}
    rotate(station)
    after = {path: path.read_bytes() for path in station.models.rglob("*") if path.is_file()}

    assert after.keys() == files.keys()
    assert {path.name for path in files if files[path] != after[path]} == {"key.json"}


def test_a_station_without_bundles_rotates_too(station: Station) -> None:
    before = station.bundle_keys.primary_id
    assert rotate(station).dropped == [before]
    assert bundles_by_key(station) == {station.bundle_keys.primary_id: 0}


def steps_of(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch, die_at: int) -> int:
    """Do the work and die at the n-th time that a file is put in place, before it is; answers how often it was done."""
    done = 0
    replace = Path.replace

    def counted(self: Path, target: Path) -> Path:
        nonlocal done
        if done == die_at:
            raise KeyboardInterrupt
        done += 1
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", counted)
        try:
            work()
        except KeyboardInterrupt:
            return done
    return done


def test_killed_at_any_step_every_bundle_opens_and_the_next_run_ends_it(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {publish(station, content): content for content in (b"one", b"two", b"three")}
    # The keyset with both keys, three wrapped keys, the keyset with the new one.
    steps = steps_of(lambda: rotate(station), monkeypatch, die_at=-1)
    assert steps == 5
    for die_at in range(steps):
        before = station.bundle_keys.primary_id
        assert steps_of(lambda: rotate(station), monkeypatch, die_at) == die_at
        assert {model_id: read(station, model_id) for model_id in models} == models
        # Published in between: under the new primary key, once there is one.
        content = f"after {die_at}".encode()
        models[publish(station, content)] = content

        done = rotate(station)
        assert done.resumed is (die_at > 0)
        assert station.bundle_keys.key_ids == [done.primary_id]
        assert before not in bundles_by_key(station)
        assert {model_id: read(station, model_id) for model_id in models} == models


def test_kill_9_at_random_moments_loses_no_bundle(station: Station) -> None:
    models = {publish(station, content): content for content in (b"one", b"two", b"three", b"four")}
    chance = random.Random(3)  # noqa: S311 (moments to be killed at, no secrets)
    begun = time.perf_counter()
    rotate(station)
    longest = time.perf_counter() - begun
    kills = 0
    for _ in range(30):
        pid = os.fork()
        if pid == 0:
            try:
                rotate(station)
            finally:
                os._exit(0)
        time.sleep(chance.uniform(0, longest))
        os.kill(pid, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        assert {model_id: read(station, model_id) for model_id in models} == models
    assert kills > 5
    rotate(station)
    assert bundles_by_key(station) == {station.bundle_keys.primary_id: 4}
    # What killed processes left is no stranger's file in a bundle, and was written over or stands beside.
    assert {path.name for path in station.models.glob("*/*")} == {
        "key.json",
        "manifest.dsse.json.sealed",
        "model.json.sealed",
    }


def test_a_full_disk_in_the_middle_loses_no_bundle(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    models = {publish(station, content): content for content in (b"one", b"two")}
    # Keyset, two wrapped keys, keyset: each a file and its folder.
    for full_at in range(8):
        written = 0

        def fsync(_: int, full_at: int = full_at) -> None:
            nonlocal written
            written += 1
            if written > full_at:
                raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            with pytest.raises(OSError, match="No space left"):
                rotate(station)
        assert {model_id: read(station, model_id) for model_id in models} == models
        rotate(station)
        assert {model_id: read(station, model_id) for model_id in models} == models


def test_an_altered_wrapped_key_keeps_the_old_key_until_it_is_restored(station: Station) -> None:
    victim, other = publish(station, b"one"), publish(station, b"two")
    path = station.models / victim / "key.json"
    whole, old = path.read_bytes(), station.bundle_keys.primary_id
    path.write_bytes(whole[:-8] + b'AAAA=="}')

    with pytest.raises(ContentChanged, match=f"models {victim}: its wrapped key is altered; the old key is kept"):
        rotate(station)
    assert old in station.bundle_keys.key_ids
    assert json.loads(last_entry(station).details)["damaged"] == [victim]
    assert read(station, other) == b"two"

    path.write_bytes(whole)
    done = rotate(station)
    assert (done.resumed, done.rewrapped, done.dropped) == (True, [victim], [old])
    assert read(station, victim) == b"one"


def test_a_wrapped_key_that_names_no_key_of_ours_is_counted_apart(station: Station) -> None:
    bundle_keys.write_wrapped(station.models / publish(station, b"one") / "key.json", b"no wrapped key at all")
    assert bundles_by_key(station) == {station.bundle_keys.primary_id: 0, "unknown": 1}


def test_a_bundle_that_is_being_published_is_never_left_under_a_dropped_key(station: Station) -> None:
    models, failures = dict[str, bytes](), list[Exception]()

    def keep_publishing() -> None:
        try:
            for number in range(40):
                content = f"model {number}".encode()
                models[publish(station, content)] = content
        except Exception as error:
            failures.append(error)

    publishing = threading.Thread(target=keep_publishing)
    publishing.start()
    while publishing.is_alive():
        rotate(station)
    assert failures == []
    assert {model_id: read(station, model_id) for model_id in models} == models


def test_without_waiting_for_those_who_publish_a_bundle_would_be_lost(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why `KeyChest.held` is there: what a slow publication wrapped with a key that a rotation dropped opens never again."""
    keys = station.bundle_keys
    rotate(station)
    monkeypatch.setattr(type(station.chest), "bundle_keys", lambda _: keys)
    model_id = publish(station, b"one")
    monkeypatch.undo()
    with pytest.raises(DecryptionRefused):
        read(station, model_id)


def test_a_file_beside_the_models_that_is_no_bundle_is_left_alone(station: Station) -> None:
    publish(station, b"one")
    draft = station.models / ".draft-x"
    draft.mkdir()
    (draft / "key.json").write_text("half")
    (station.models / "notes.txt").write_text("x")
    rotate(station)
    assert (draft / "key.json").read_text() == "half"


def test_the_folder_of_a_rotation_is_on_disk_before_the_next_step(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this, a power cut could keep the dropped key's end and lose the wrapped keys' beginning."""
    publish(station, b"one")
    told = list[str]()
    replace = Path.replace

    def seen(self: Path, target: Path) -> Path:
        told.append(f"replace {target.name}")
        return replace(self, target)

    def settled(folder: Path) -> None:
        told.append(f"on disk: {folder.name}")

    monkeypatch.setattr(Path, "replace", seen)
    monkeypatch.setattr(_primitives, "names_on_disk", settled)
    monkeypatch.setattr(bundle_keys, "names_on_disk", settled)
    model_id = next(station.models.glob("[!.]*")).name
    rotate(station)
    assert told == [
        "replace bundles.keyset", "on disk: keys", "replace key.json", f"on disk: {model_id}", "replace bundles.keyset",
        "on disk: keys",
    ]  # fmt: skip
