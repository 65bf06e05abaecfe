"""Backups of a station: what is in them, what is written twice, what comes back, what goes and what stays."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlmodel import select

from pipeline.backup import contents, prune
from pipeline.backup.catalogue import Catalogue
from pipeline.backup.chain import catalogue_of
from pipeline.backup.contents import BUNDLE_KEYS, contents_of
from pipeline.backup.create import create
from pipeline.backup.repository import turn_at
from pipeline.backup.restore import restore
from pipeline.backup.verify import Trust, list_backups
from pipeline.database import make_engine, transaction
from pipeline.errors import BackupOutOfLine, DatabaseDamaged, PipelineError
from pipeline.settings import Settings
from pipeline.station import note, open_station
from security.audit_check import verify_log
from security.audit_heads import read_heads
from security.audit_log import AuditEntry
from security.errors import ContentChanged, IntegrityError, KeyringError, UnavailableError
from security.keyring import load_or_create_signer, trusted_keys
from security.master_key import Protection, protection_of
from tests.unit.pipeline.small_backup import BY, PASSPHRASE, Yard, hurry


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard.at(tmp_path)


def set_clock(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    """The moment that `prune` believes to be now."""

    class Clock:
        @staticmethod
        def now(_: object) -> datetime:
            return moment

    monkeypatch.setattr(prune, "datetime", Clock)


def log_of(home: Path) -> list[AuditEntry]:
    engine = make_engine("", home)
    with transaction(engine) as session:
        entries = list(session.exec(select(AuditEntry)))
    engine.dispose()
    return entries


def catalogue(yard: Yard, sequence: int) -> Catalogue:
    backup = next(b for b in yard.verify().backups if b.sequence == sequence)
    return catalogue_of(yard.folder, backup, yard.keys)


def test_a_backup_comes_back_as_it_was_with_one_entry_more_in_its_log(yard: Yard, tmp_path: Path) -> None:
    made = yard.create()
    restored = yard.restore(tmp_path / "new")

    assert yard.files(tmp_path / "new") == yard.files()
    assert restored.backup.digest == made.backup.digest
    (entry,) = log_of(tmp_path / "new")
    assert (entry.action, entry.actor) == ("backup.restored", BY)
    assert made.backup.digest in entry.details
    assert sorted(path.name for path in (tmp_path / "new" / "keys").iterdir()) == ["bundles.keyset", "master.json"]


def test_nothing_of_the_station_can_be_read_in_the_folder_and_no_private_key_is_in_it(yard: Yard) -> None:
    load_or_create_signer(yard.home / "simulated-providers", "aurora")
    (yard.home / "lake" / "utility.json").write_text("a plain word to look for")
    yard.create()

    stored = b"".join(path.read_bytes() for path in yard.folder.rglob("*") if path.is_file())
    assert b"plain word" not in stored
    assert b"weather.parquet" not in stored
    names = [file.name for file in catalogue(yard, 1).files]
    assert "lake/weather/provider=x/weather.parquet" in names
    assert [name for name in names if name.startswith("keys") or name.endswith(".pem")] == [BUNDLE_KEYS]


def test_the_keys_of_the_models_come_back_with_them_sealed_in_a_chest_of_the_restored_station(
    yard: Yard, tmp_path: Path
) -> None:
    station = yard.station()
    _, wrapped = station.bundle_keys.new_data_key(b"a model")
    secret = station.bundle_keys.to_secret()
    station.engine.dispose()
    yard.create()
    yard.restore(tmp_path / "new")

    restored = open_station(Settings(home=tmp_path / "new"))
    restored.engine.dispose()
    assert restored.bundle_keys.unwrap(wrapped, b"a model")
    assert restored.signers["model"].key_id != station.signers["model"].key_id
    on_disk = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert secret not in on_disk


def test_the_keys_of_the_models_come_back_under_the_protection_of_whoever_restores(yard: Yard, tmp_path: Path) -> None:
    yard.create()
    words = SecretStr("six more words of a test")
    restore(yard.folder, tmp_path / "new", Trust(yard.keys), Protection(words), sequence=None, by=BY)

    assert protection_of(tmp_path / "new" / "keys" / "master.json") == "passphrase"
    with pytest.raises(UnavailableError, match="sealed with a passphrase"):
        open_station(Settings(home=tmp_path / "new"))
    station = open_station(Settings(home=tmp_path / "new", key_passphrase=words))
    station.engine.dispose()
    original = yard.station()
    original.engine.dispose()
    assert station.bundle_keys == original.bundle_keys


def test_what_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    yard = Yard.at(tmp_path, megabytes=3.5)
    first = yard.create()
    yard.change(seed=2)
    second = yard.create()
    third = yard.create()

    # The changed piece of the readings, the database and the heads of the audit log, of at least seven pieces.
    assert first.written.chunks >= 7
    assert second.written.chunks == 3
    assert third.written.chunks == 2
    assert yard.verify().unneeded == 0


def test_a_damaged_piece_that_a_new_backup_needs_is_written_anew_and_mends_the_old_ones(yard: Yard) -> None:
    yard.create()
    victim = yard.folder / "chunks" / catalogue(yard, 1).chunks["lake/weather/provider=x/weather.parquet"][0]
    victim.write_bytes(b"")
    with pytest.raises(ContentChanged, match=victim.name):
        yard.verify()

    assert yard.create().written.mended == 1
    assert len(yard.verify().backups) == 2


def test_a_backup_taken_while_the_station_works_is_one_state(yard: Yard, tmp_path: Path) -> None:
    """Somebody writes an entry, and its signed head, after the heads were read and after the database was copied."""
    station = yard.station()

    def work(action: str) -> None:
        note(station, actor=BY, action=action, subject="x", details={}, at=datetime.now(UTC))

    work("before")
    taken = {}
    for name, stream in contents_of(station):
        work(f"while {name} is read")
        taken[name] = stream.read()
    station.engine.dispose()

    home = tmp_path / "taken"
    home.mkdir()
    for name in ("gridward.sqlite", "audit-heads.jsonl"):
        (home / name).write_bytes(taken[name])
    copy = open_station(Settings(home=home))
    with transaction(copy.engine) as session:
        trusted = trusted_keys(session, "audit")
        # The old audit key is still believed, and no head is ahead of the log.
        assert verify_log(session, read_heads(copy.audit_heads, trusted)) == 1
    copy.engine.dispose()


def test_drafts_are_left_out_and_odd_files_are_refused_by_name(yard: Yard) -> None:
    (yard.home / "snapshots" / ".draft-x").mkdir(parents=True)
    (yard.home / "snapshots" / ".draft-x" / "half.parquet").write_text("x")
    (yard.home / "lake" / "demand.draft").write_text("x")
    yard.create()
    assert not [file.name for file in catalogue(yard, 1).files if "draft" in file.name]

    (yard.home / "lake" / "elsewhere").symlink_to("/etc/hostname")
    with pytest.raises(ContentChanged, match="lake/elsewhere: this is a symlink"):
        yard.create()
    (yard.home / "lake" / "elsewhere").unlink()
    os.mkfifo(yard.home / "lake" / "pipe")
    with pytest.raises(ContentChanged, match="lake/pipe: this file is not a regular file"):
        yard.create()
    assert len(yard.verify().backups) == 1


def test_a_damaged_database_is_not_backed_up(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    yard.create()

    def damaged(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[4096:8192] = b"\xff" * 4096
        path.write_bytes(content)
        check(path)

    check = contents.check_database
    monkeypatch.setattr(contents, "check_database", damaged)
    with pytest.raises(DatabaseDamaged, match="earlier backup"):
        yard.create()
    assert len(yard.verify().backups) == 1


def test_a_database_on_a_server_is_not_backed_up_in_silence(yard: Yard) -> None:
    station = yard.station()
    station.engine.dispose()
    station.engine.dialect.name = "postgresql"
    with pytest.raises(PipelineError, match="GRIDWARD_DATABASE_URL"):
        next(contents_of(station))


def test_a_database_elsewhere_comes_back_in_the_home_folder(yard: Yard, tmp_path: Path) -> None:
    station = open_station(Settings(home=yard.home, database_url=f"sqlite:///{tmp_path / 'else where?.sqlite'}"))
    note(station, actor=BY, action="kept", subject="x", details={}, at=datetime.now(UTC))
    create(station, yard.folder, PASSPHRASE, lock_days=0, by=BY)
    station.engine.dispose()
    yard.restore(tmp_path / "new")
    assert [entry.action for entry in log_of(tmp_path / "new")] == ["kept", "backup.restored"]


@pytest.mark.parametrize(
    ("place", "said"), [("home/x", "inside the station"), ("no/parent", "folder above"), ("foreign", "something else")]
)
def test_backups_go_to_a_folder_of_their_own_outside_the_station(yard: Yard, tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "letter.txt").write_text("x")
    with pytest.raises(PipelineError, match=said):
        Yard(yard.home, tmp_path / place).create()
    assert sorted(path.name for path in (tmp_path / "foreign").iterdir()) == ["letter.txt"]


def test_one_at_a_time(yard: Yard) -> None:
    yard.create()
    with turn_at(yard.folder, alone=False):
        yard.verify()
        with pytest.raises(UnavailableError, match="another gridward"):
            yard.create()
    with turn_at(yard.folder, alone=True), pytest.raises(UnavailableError, match="another gridward"):
        yard.verify()


def test_without_a_passphrase_nothing_is_made(yard: Yard) -> None:
    station = yard.station()
    with pytest.raises(UnavailableError, match="GRIDWARD_BACKUP_PASSPHRASE"):
        create(station, yard.folder, None, lock_days=0, by=BY)
    station.engine.dispose()
    assert not (yard.home / "keys" / "backup.keyset").exists()
    assert log_of(yard.home)[-1].action == "backup.refused"


def test_keys_that_were_lost_are_not_replaced_in_a_folder_that_holds_backups(yard: Yard) -> None:
    yard.create()
    (yard.home / "keys" / "backup.keyset").unlink()
    with pytest.raises(UnavailableError, match=r"backup\.keyset: no backup keys"):
        yard.create()


def test_a_signing_key_that_was_replaced_signs_no_backup(yard: Yard) -> None:
    yard.create()
    (yard.home / "keys" / "backup.key").unlink()
    with pytest.raises(KeyringError, match=r"backup\.key: this is not the key"):
        yard.create()


def test_backups_made_with_other_keys_are_neither_opened_nor_added_to(yard: Yard, tmp_path: Path) -> None:
    yard.create()
    (yard.home / "keys" / "backup.keyset").unlink()
    Yard(yard.home, tmp_path / "new folder").create()
    for attempt in (yard.create, yard.verify, lambda: yard.prune(keep=1)):
        with pytest.raises(KeyringError, match="backups/000001: made with other backup keys"):
            attempt()


@pytest.mark.parametrize("way", ["full", "link", "inside", "no parent"])
def test_a_station_comes_back_in_an_empty_folder_only(yard: Yard, tmp_path: Path, way: str) -> None:
    yard.create()
    out = tmp_path / "out"
    if way == "full":
        out.mkdir()
        (out / "mine.txt").write_text("x")
    elif way == "link":
        out.symlink_to(tmp_path)
    out = {"inside": yard.folder / "chunks" / "x", "no parent": tmp_path / "no" / "out"}.get(way, out)
    with pytest.raises(PipelineError):
        yard.restore(out)
    assert not (yard.folder / "chunks" / "x").exists()

    (tmp_path / "empty").mkdir()
    assert yard.restore(tmp_path / "empty").home == tmp_path / "empty"


def test_an_earlier_backup_comes_back_by_its_number(yard: Yard, tmp_path: Path) -> None:
    before = yard.files()
    yard.create()
    yard.change(seed=3)
    yard.create()
    yard.restore(tmp_path / "first", sequence=1)
    assert yard.files(tmp_path / "first") == before
    with pytest.raises(PipelineError, match="no backup 7"):
        yard.restore(tmp_path / "seventh", sequence=7)


def test_pruning_keeps_the_newest_and_the_chain(yard: Yard, tmp_path: Path) -> None:
    for seed in range(4):
        yard.change(seed)
        yard.create()
    done = yard.prune(keep=2)

    assert ([b.sequence for b in done.removed], [b.sequence for b in done.kept]) == ([1, 2], [3, 4])
    assert done.chunks_removed >= 2
    found = yard.verify(witnessed=True)
    assert (found.unneeded, found.witnessed) == (0, True)
    assert yard.prune(keep=2).removed == []
    yard.create()
    yard.prune(keep=1)
    assert [b.sequence for b in yard.verify().backups] == [5]
    assert yard.files(yard.restore(tmp_path / "new").home) == yard.files()
    with pytest.raises(ValueError, match="always stays"):
        yard.prune(keep=0)


def test_a_locked_backup_and_those_after_it_stay_until_its_time(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    yard.create()
    yard.create(lock_days=3)
    for _ in range(2):
        yard.create()
    done = yard.prune(keep=1)
    assert [b.sequence for b in done.removed] == [1]
    assert [b.sequence for b in done.locked] == [2]
    assert [b.sequence for b in yard.verify().backups] == [2, 3, 4]

    set_clock(monkeypatch, datetime.now(UTC) + timedelta(days=3, seconds=1))
    assert [b.sequence for b in yard.prune(keep=1).removed] == [2, 3]


def test_a_clock_set_back_prunes_nothing(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    yard.create()
    yard.create()

    set_clock(monkeypatch, datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(IntegrityError, match="clock is behind"):
        yard.prune(keep=1)
    assert len(yard.verify().backups) == 2


def test_every_verb_is_in_the_audit_log_with_who_and_what(yard: Yard) -> None:
    yard.create()
    yard.verify(witnessed=True)
    yard.prune(keep=1)
    station = yard.station()
    list_backups(yard.folder, Trust(yard.keys, station), by=BY)
    (yard.folder / "backups" / "000001" / "intruder").write_text("x")
    with pytest.raises(ContentChanged):
        list_backups(yard.folder, Trust(yard.keys, station), by=BY)
    station.engine.dispose()

    entries = log_of(yard.home)
    assert [entry.action for entry in entries] == [
        "backup.created", "backup.verified", "backup.pruned", "backup.listed", "backup.refused",
    ]  # fmt: skip
    assert {(entry.actor, entry.subject) for entry in entries} == {(BY, str(yard.folder))}
    assert "intruder" in entries[-1].details
    assert not any(PASSPHRASE.get_secret_value() in entry.details for entry in entries)


def test_a_folder_without_backups_says_so(yard: Yard, tmp_path: Path) -> None:
    yard.create()
    # As a first run that was killed leaves it.
    for name in ("chunks", "backups"):
        (tmp_path / "begun" / name).mkdir(parents=True)
    for folder in (tmp_path / "nowhere", tmp_path, tmp_path / "begun"):
        with pytest.raises(UnavailableError):
            Yard(yard.home, folder).verify()


def test_a_backup_that_was_kept_in_mind_must_be_there(yard: Yard) -> None:
    digest = yard.create().backup.digest
    assert yard.verify(expected=digest).witnessed
    assert yard.verify(expected=digest[:16]).witnessed
    assert not yard.verify().witnessed
    with pytest.raises(BackupOutOfLine, match="none of them is 0000"):
        yard.verify(expected="0000")


def test_the_copied_database_is_whole_in_one_file(yard: Yard) -> None:
    station = yard.station()
    note(station, actor=BY, action="only in the write-ahead log yet", subject="x", details={}, at=datetime.now(UTC))
    (content,) = [stream.read() for name, stream in contents_of(station) if name == "gridward.sqlite"]
    station.engine.dispose()
    with closing(sqlite3.connect(":memory:")) as memory:
        # SQLite opens no write-ahead log in memory: say that there is none.
        memory.deserialize(content[:18] + b"\x01\x01" + content[20:])
        assert memory.execute("SELECT count(*) FROM audit_entry").fetchone() == (1,)


def test_a_secret_shows_in_no_text_of_the_keys(yard: Yard) -> None:
    yard.create()
    keys = yard.keys
    shown = f"{keys!r}{keys.cipher!r}{Settings(home=yard.home, backup_passphrase=SecretStr('very secret words'))!r}"
    assert keys.name_key.hex() not in shown
    assert "very secret words" not in shown
    assert "keyset" not in repr(keys.cipher)


def test_nobody_publishes_a_release_while_the_releases_are_read(yard: Yard) -> None:
    folder = yard.home / "registry"
    (folder / "metadata").mkdir(parents=True)
    for name in ("1.snapshot.json", "timestamp.json"):
        (folder / "metadata" / name).write_text("{}")
    station = open_station(Settings(home=yard.home))
    read = [name for name, _ in contents_of(station) if not name.startswith("registry/") or held_by_another(folder)]
    assert {"registry/metadata/1.snapshot.json", "registry/metadata/timestamp.json"} <= set(read)
    assert not held_by_another(folder)


def held_by_another(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
