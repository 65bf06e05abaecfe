"""Somebody with access to the folder of backups (AML.T0059, AML.T0020): edits, swaps, takes away, plays old ones back."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.backup.catalogue import CATALOGUE
from pipeline.backup.chain import KIND as BACKUP
from pipeline.backup.chain import Backup, add, catalogue_of, read_chain
from pipeline.backup.chunks import ChunkStore
from pipeline.backup.create import signer_of
from pipeline.backup.pruned import PrunedUpTo, write_pruned
from pipeline.errors import BackupOutOfLine
from security.backup_keys import load_backup_keys
from security.encryption import Cipher
from security.errors import ContentChanged, GridwardError, KeyringError, SignatureInvalid
from security.signing import new_signer, open_folder, seal_folder
from tests.unit.pipeline.small_backup import Yard, hurry

Harm = Callable[[Yard], str]


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    """A station with three backups of changing readings."""
    hurry(monkeypatch)
    made = Yard.at(tmp_path)
    for seed in range(3):
        made.change(seed)
        made.create()
    return made


def newest(yard: Yard) -> Path:
    return yard.folder / "backups" / "000003"


def a_chunk(yard: Yard) -> Path:
    """One that every backup needs."""
    return yard.folder / "chunks" / yard.keys.name_of((yard.home / "models" / "m1" / "model.txt").read_bytes())


def flip_a_bit(yard: Yard) -> str:
    content = bytearray(a_chunk(yard).read_bytes())
    content[len(content) // 2] ^= 1
    a_chunk(yard).write_bytes(content)
    return f"chunks/{a_chunk(yard).name}: this file is altered"


def cut_a_file(yard: Yard) -> str:
    victim = a_chunk(yard)
    victim.write_bytes(victim.read_bytes()[:-1])
    return f"chunks/{victim.name}: this file is altered"


def grow_a_file(yard: Yard) -> str:
    victim = a_chunk(yard)
    victim.write_bytes(victim.read_bytes() + b"\0")
    return f"chunks/{victim.name}: this file is altered"


def take_a_chunk(yard: Yard) -> str:
    victim = a_chunk(yard)
    victim.unlink()
    return f"chunks/{victim.name}: this file is missing"


def link_a_chunk(yard: Yard) -> str:
    victim = a_chunk(yard)
    shutil.move(victim, yard.home.parent / "moved")
    victim.symlink_to(yard.home.parent / "moved")
    assert victim.read_bytes()  # Whoever just reads follows it.
    return f"chunks/{victim.name}: this is a symlink"


def put_one_chunk_in_anothers_place(yard: Yard) -> str:
    victim = a_chunk(yard)
    other = next(path for path in (yard.folder / "chunks").iterdir() if path != victim)
    shutil.copy(other, victim)
    return f"chunks/{victim.name}: this file is altered"


def add_a_file(yard: Yard) -> str:
    (yard.folder / "chunks" / "intruder").write_text("x")
    return "chunks/intruder: this file is unknown"


def flip_a_bit_of_the_catalogue(yard: Yard) -> str:
    victim = newest(yard) / CATALOGUE
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    return f"backups/000003/{CATALOGUE}: this file is altered"


def put_an_older_catalogue_in(yard: Yard) -> str:
    shutil.copy(yard.folder / "backups" / "000001" / CATALOGUE, newest(yard))
    return f"backups/000003/{CATALOGUE}: this file is altered"


def swap_two_backups(yard: Yard) -> str:
    first, second = (yard.folder / "backups" / name for name in ("000001", "000002"))
    first.rename(first.with_name("hand"))
    second.rename(first)
    first.with_name("hand").rename(second)
    return "backups/000001: backup 2 stands here"


def play_an_old_one_back_as_the_newest(yard: Yard) -> str:
    shutil.copytree(yard.folder / "backups" / "000001", yard.folder / "backups" / "000004")
    return "backups/000004: backup 1 stands here"


def take_one_out_of_the_middle(yard: Yard) -> str:
    shutil.rmtree(yard.folder / "backups" / "000002")
    return "backups/000002: this backup is missing"


def take_the_oldest(yard: Yard) -> str:
    shutil.rmtree(yard.folder / "backups" / "000001")
    return "backups/000001: this backup is missing, and was not pruned"


def say_that_it_was_pruned(yard: Yard) -> str:
    backup = yard.verify().backups[0]
    shutil.rmtree(yard.folder / backup.folder)
    write_pruned(yard.folder, PrunedUpTo(backup.series, 1, backup.digest, backup.made_at, "mallory"), new_signer())
    return "pruned.jsonl, line 1: no trusted key signed this line"


def add_a_foreign_folder(yard: Yard) -> str:
    (yard.folder / "backups" / "newest").mkdir()
    return "backups/newest: this file is unknown"


def link_a_backup(yard: Yard) -> str:
    newest(yard).rename(yard.home.parent / "moved")
    newest(yard).symlink_to(yard.home.parent / "moved")
    return "backups/000003: this is a symlink"


def link_the_chunks(yard: Yard) -> str:
    (yard.folder / "chunks").rename(yard.home.parent / "moved")
    (yard.folder / "chunks").symlink_to(yard.home.parent / "moved")
    return "chunks: this is a symlink"


@pytest.mark.parametrize(
    "harm",
    [
        flip_a_bit, cut_a_file, grow_a_file, take_a_chunk, link_a_chunk, put_one_chunk_in_anothers_place, add_a_file,
        flip_a_bit_of_the_catalogue, put_an_older_catalogue_in, swap_two_backups, play_an_old_one_back_as_the_newest,
        take_one_out_of_the_middle, take_the_oldest, say_that_it_was_pruned, link_a_backup, link_the_chunks,
        add_a_foreign_folder,
    ],
)  # fmt: skip
def test_harm_is_found_in_one_line_that_names_the_file_and_nothing_is_restored(
    yard: Yard, harm: Harm, tmp_path: Path
) -> None:
    said = harm(yard)

    with pytest.raises(GridwardError) as refusal:
        yard.verify()
    assert str(refusal.value).startswith(f"{said} — ")
    assert "\n" not in str(refusal.value)
    assert refusal.value.exit_code == 3
    if harm is not add_a_file:  # It stands beside what is restored.
        with pytest.raises(GridwardError, match=re.escape(said)):
            yard.restore(tmp_path / "out")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("harm", [flip_a_bit, cut_a_file, take_a_chunk, link_a_chunk])
def test_a_station_is_restored_whole_or_not_at_all(yard: Yard, harm: Harm, tmp_path: Path) -> None:
    said = harm(yard)
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new", tmp_path / "empty"):
        with pytest.raises(ContentChanged) as refusal:
            yard.restore(out)
        assert str(refusal.value).startswith(said)
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "empty").iterdir()) == []
    assert not list(tmp_path.glob(".*"))


def test_a_folder_rolled_back_wins_where_nobody_remembers_and_loses_against_the_audit_log_and_a_kept_id(
    yard: Yard, tmp_path: Path
) -> None:
    kept = yard.verify().backups[-1].backup_id
    shutil.rmtree(newest(yard))

    # Signed, whole, in line: of itself, nothing in the folder is wrong.
    assert [backup.sequence for backup in yard.verify().backups] == [1, 2]
    assert not yard.verify().witnessed
    assert yard.restore(tmp_path / "old").backup.sequence == 2

    with pytest.raises(BackupOutOfLine, match=r"backups/000003: .* the station's audit log knows it"):
        yard.verify(witnessed=True)
    with pytest.raises(BackupOutOfLine, match=f"none of them is {kept}"):
        yard.verify(expected=kept)
    # Nor is a new backup put in the place of the one that was taken away.
    with pytest.raises(BackupOutOfLine, match="000003"):
        yard.create()
    with pytest.raises(BackupOutOfLine, match="000003"):
        yard.prune(keep=1)


def fork(yard: Yard, place: Path, since: int) -> Yard:
    """The same station and keys with another history of the same folder, each backup of it truly signed."""
    place.mkdir()
    other = Yard(place / "home", place / "disk")
    shutil.copytree(yard.home, other.home)
    shutil.copytree(yard.folder, other.folder)
    for sequence in range(since, 4):
        shutil.rmtree(other.folder / "backups" / f"{sequence:06d}")
    station = other.station()
    for sequence in range(since, 4):
        chain = read_chain(other.folder, other.keys)
        catalogue = catalogue_of(other.folder, chain[0], other.keys)
        times = (chain[-1].made_at, None)
        assert (
            add(other.folder, chain[-1], catalogue, other.keys, signer_of(station, other.keys), times).sequence == sequence
        )
    station.engine.dispose()
    return other


@pytest.mark.parametrize("sequence", [2, 3])
def test_a_true_backup_of_another_history_wins_alone_and_loses_in_the_chain(
    yard: Yard, tmp_path: Path, sequence: int
) -> None:
    other = fork(yard, tmp_path / "fork", since=2)
    name = f"backups/{sequence:06d}"
    shutil.rmtree(yard.folder / name)
    shutil.copytree(other.folder / name, yard.folder / name)

    # Its number and signature are right, so that of itself it holds.
    assert open_folder(yard.folder / name, BACKUP, yard.keys.trusted).predicate["sequence"] == sequence

    with pytest.raises(BackupOutOfLine, match="one of the two was swapped"):
        yard.verify()


def test_a_whole_other_history_wins_where_nobody_remembers_and_loses_against_the_audit_log(
    yard: Yard, tmp_path: Path
) -> None:
    other = fork(yard, tmp_path / "fork", since=3)
    shutil.rmtree(yard.folder)
    shutil.copytree(other.folder, yard.folder)
    assert len(yard.verify().backups) == 3
    with pytest.raises(BackupOutOfLine, match=r"backups/000003: this is not the backup that the station's audit log knows"):
        yard.verify(witnessed=True)


def test_another_history_after_what_was_pruned_is_refused(yard: Yard, tmp_path: Path) -> None:
    other = fork(yard, tmp_path / "fork", since=2)
    yard.prune(keep=1)
    shutil.rmtree(newest(yard))
    shutil.copytree(newest(other), newest(yard))
    with pytest.raises(BackupOutOfLine, match=r"backups/000003: .* followed the pruned ones"):
        yard.verify()
    shutil.rmtree(newest(yard))
    with pytest.raises(BackupOutOfLine, match="backups/000003: this backup is missing"):
        yard.verify()


def test_a_catalogue_altered_between_the_check_and_the_reading_is_refused(yard: Yard) -> None:
    backup = read_chain(yard.folder, yard.keys)[-1]
    said = flip_a_bit_of_the_catalogue(yard)
    with pytest.raises(ContentChanged, match=re.escape(said)):
        catalogue_of(yard.folder, backup, yard.keys)


def forged(yard: Yard, backup: Backup, **changes: object) -> None:
    """Seal a backup anew with other facts, by somebody who has the disk and a key of his own."""
    seal_folder(yard.folder / backup.folder, BACKUP, {**backup.manifest.predicate, **changes}, new_signer())


def test_a_lock_that_was_edited_away_wins_on_another_key_and_loses_on_ours(yard: Yard) -> None:
    yard.create(lock_days=30)
    yard.create()
    locked = yard.verify().backups[3]
    mallory = new_signer()
    facts = {**locked.manifest.predicate, "locked_until": None}
    seal_folder(yard.folder / locked.folder, BACKUP, facts, mallory)

    # Whoever believes any key sees an unlocked backup.
    believed = open_folder(yard.folder / locked.folder, BACKUP, {mallory.key_id: mallory.public_key})
    assert believed.predicate["locked_until"] is None

    with pytest.raises(SignatureInvalid, match="backups/000004"):
        yard.prune(keep=1)
    assert len(list((yard.folder / "backups").iterdir())) == 5


def test_a_chain_that_somebody_else_made_is_not_continued(yard: Yard) -> None:
    forged(yard, yard.verify().backups[-1], made_at="2020-01-01T00:00:00.000000+00:00")
    with pytest.raises(SignatureInvalid, match="backups/000003"):
        yard.create()


def test_a_wrong_passphrase_opens_nothing_and_is_not_repeated(yard: Yard) -> None:
    path = yard.home / "keys" / "backup.keyset"
    with pytest.raises(KeyringError) as refusal:
        load_backup_keys(path, SecretStr("seven loud words of mallory"))
    assert str(refusal.value).startswith(f"{path}: the passphrase does not open these keys")
    assert "mallory" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a file of backup keys"),
        (b'{"format_version": 2, "salt": "", "sealed": ""}', "of format 2 are unknown"),
        (b'{"format_version": 1, "salt": "00", "sealed": "AAAA"}', "the passphrase does not open"),
        (b"[" * 3000, "not a file of backup keys"),
    ],
)
def test_a_file_of_keys_that_was_edited_is_refused(yard: Yard, content: bytes, said: str) -> None:
    path = yard.home / "keys" / "backup.keyset"
    path.write_bytes(content)
    with pytest.raises(KeyringError, match=said):
        load_backup_keys(path, SecretStr("six quiet words of a test"))


def test_a_salt_or_a_seal_of_another_file_does_not_open(yard: Yard, tmp_path: Path) -> None:
    other = Yard.at(tmp_path / "other")
    other.create()
    mine, theirs = (json.loads((y.home / "keys" / "backup.keyset").read_bytes()) for y in (yard, other))
    (yard.home / "keys" / "backup.keyset").write_text(json.dumps({**mine, "salt": theirs["salt"]}))
    with pytest.raises(KeyringError):
        yard.create()


def test_keys_open_to_others_are_refused(yard: Yard) -> None:
    path = yard.home / "keys" / "backup.keyset"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(KeyringError, match="open to other users"):
        yard.create()


def test_a_guess_at_a_content_wins_against_plain_digests_and_loses_against_keyed_ones(yard: Yard) -> None:
    """Whoever reads the disk and guesses what is stored (were these the readings?) must not be able to tell."""
    guess = (yard.home / "lake" / "utility.json").read_bytes()
    names = {path.name for path in (yard.folder / "chunks").iterdir()}
    keys = yard.keys
    assert keys.name_of(guess) in names

    class Unkeyed:
        trusted, signed_by, cipher = keys.trusted, keys.signed_by, Cipher.fresh()
        name_of = staticmethod(lambda content: hashlib.sha256(content).hexdigest())

    unkeyed = ChunkStore(yard.folder, Unkeyed())  # type: ignore[arg-type]
    assert unkeyed.put(guess) == Unkeyed.name_of(guess)
    assert Unkeyed.name_of(guess) not in names


def test_other_peoples_backups_are_not_opened(yard: Yard, tmp_path: Path) -> None:
    other = Yard(Yard.at(tmp_path / "other").home, tmp_path / "other" / "own")
    other.create()
    with pytest.raises(SignatureInvalid, match="backups/000001"):
        Yard(other.home, yard.folder).verify()
