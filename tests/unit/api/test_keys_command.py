"""`gridward keys`: what an operator sees and does, from a demonstration's keys to protected ones and a rotation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from sqlmodel import select

from api.commands import service
from pipeline.database import make_engine, transaction
from security.audit_log import AuditEntry
from tests.unit.api.commands import Run, runner
from tests.unit.pipeline.small_backup import hurry
from tests.unit.pipeline.small_bundles import publish, station_at
from tests.unit.security.small_vault import TOKEN, SmallVault

WORDS, OTHER_WORDS = "six quiet words of a test", "six other words of a test"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A station with two bundles, protected by nothing but the mode of its files."""
    hurry(monkeypatch)
    for name in [name for name in os.environ if name.startswith("GRIDWARD_")]:
        monkeypatch.delenv(name)
    station = station_at(tmp_path / "home")
    for content in (b"one", b"two"):
        publish(station, content)
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("GRIDWARD_HOME", str(home))
    return runner(monkeypatch, capsys, "keys")


@pytest.fixture
def vault() -> Iterator[SmallVault]:
    with SmallVault() as running:
        yield running


def acts(home: Path) -> list[tuple[str, str]]:
    engine = make_engine("", home)
    with transaction(engine) as session:
        found = [(entry.action, entry.actor) for entry in session.exec(select(AuditEntry))]
    engine.dispose()
    return found


def test_the_status_tells_that_keys_are_not_protected_and_what_wraps_the_bundles(run: Run, home: Path) -> None:
    seen = run("status", "--json")
    assert seen.code == 0
    assert (seen.json["protected_by"], seen.json["folder"]) == ("none", str(home / "keys"))
    assert seen.json["signers"] == ["audit", "model", "registry", "snapshot", "token"]
    assert seen.json["bundle_keys"] == {seen.json["primary_bundle_key"]: 2}
    assert "whoever may read the folder of keys has them all" in seen.err
    assert "wraps 2" in run("status").out


def test_a_passphrase_is_put_on_changed_and_asked_for(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run("status", "--json").json["signers"]
    monkeypatch.setenv("GRIDWARD_KEY_PASSPHRASE", WORDS)
    unready = run("status")
    assert (unready.code, unready.err.count("\n")) == (3, 1)
    assert "run `gridward keys protect` if that is new" in unready.err

    done = run("protect")
    assert done.code == 0
    assert "protected by passphrase; copies of the folder of keys that were made before open as they did" in done.out
    seen = run("status", "--json")
    assert (seen.json["protected_by"], seen.json["signers"], seen.err) == ("passphrase", before, "")

    monkeypatch.setenv("GRIDWARD_KEY_PASSPHRASE", OTHER_WORDS)
    wrong = run("protect")
    assert (wrong.code, wrong.err.count("\n")) == (3, 1)
    assert "the passphrase does not open the master key" in wrong.err
    monkeypatch.setenv("GRIDWARD_OLD_KEY_PASSPHRASE", WORDS)
    assert run("protect", "--json").json == {"protected_by": "passphrase"}
    assert run("status").code == 0

    monkeypatch.delenv("GRIDWARD_KEY_PASSPHRASE")
    missing = run("status")
    assert (missing.code, missing.err.count("\n")) == (5, 1)
    assert "GRIDWARD_KEY_PASSPHRASE: the key chest is sealed with a passphrase" in missing.err
    assert acts(home) == [("keys.protected", "operator on the console")] * 2


def test_keys_move_into_a_kms_and_to_another_one(run: Run, monkeypatch: pytest.MonkeyPatch, vault: SmallVault) -> None:
    monkeypatch.setenv("GRIDWARD_KMS_URI", vault.uri("station"))
    tokenless = run("protect")
    assert (tokenless.code, "GRIDWARD_VAULT_TOKEN" in tokenless.err) == (5, True)
    monkeypatch.setenv("GRIDWARD_VAULT_TOKEN", TOKEN)
    assert run("protect", "--json").json == {"protected_by": "kms"}
    assert run("status", "--json").json["protected_by"] == "kms"

    monkeypatch.setenv("GRIDWARD_KMS_URI", vault.uri("another"))
    assert run("protect").code == 3
    assert run("protect", "--old-kms-uri", vault.uri("station")).code == 0
    assert run("status").code == 0
    odd = run("protect", "--old-kms-uri", "https://example")
    assert (odd.code, "vault://host[:port]/transit/keys/NAME" in " ".join(odd.err.split())) == (2, True)


def test_a_protection_that_was_killed_before_its_entry_in_the_log_is_simply_run_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDWARD_KEY_PASSPHRASE", WORDS)
    assert run("protect").code == 0
    assert run("protect").code == 0
    assert run("status").code == 0


def test_a_passphrase_and_a_kms_together_or_an_odd_kms_are_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDWARD_KMS_URI", "aws-kms://x")
    odd = run("status")
    assert (odd.code, odd.err.startswith("error: GRIDWARD_KMS_URI: ")) == (2, True)
    assert "aws-kms" not in odd.err
    monkeypatch.setenv("GRIDWARD_KMS_URI", "vault://host/transit/keys/a")
    monkeypatch.setenv("GRIDWARD_KEY_PASSPHRASE", WORDS)
    both = run("status")
    assert (both.code, "not both" in both.err, WORDS in both.err) == (2, True, False)


def test_with_nothing_to_protect_with_nothing_is_done(run: Run, home: Path) -> None:
    before = (home / "keys" / "master.json").read_bytes()
    refused = run("protect")
    assert (refused.code, refused.err.count("\n")) == (5, 1)
    assert "nothing to protect the keys with" in refused.err
    assert (home / "keys" / "master.json").read_bytes() == before


def test_a_short_passphrase_protects_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDWARD_KEY_PASSPHRASE", "short")
    refused = run("protect")
    assert (refused.code, "shorter than 12" in refused.err) == (3, True)
    monkeypatch.delenv("GRIDWARD_KEY_PASSPHRASE")
    assert run("status", "--json").json["protected_by"] == "none"


def test_a_rotation_shows_what_it_did_and_stands_in_the_log(run: Run, home: Path) -> None:
    before = run("status", "--json").json
    done = run("rotate", "--json").json
    after = run("status", "--json").json

    assert done["dropped"] == [before["primary_bundle_key"]]
    assert (len(done["rewrapped"]), done["resumed"]) == (2, False)
    assert after["bundle_keys"] == {done["primary_bundle_key"]: 2}
    assert "Rotated" in run("rotate").out
    assert acts(home) == [("keys.rotated", "operator on the console")] * 2


@pytest.mark.parametrize(("words", "told"), [("", True), (WORDS, False)])
def test_a_service_whose_keys_are_not_protected_says_so_in_its_log(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str], words: str, told: bool,
) -> None:  # fmt: skip
    shutil.copytree(built, tmp_path / "service")
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "service"))
    monkeypatch.setenv("GRIDWARD_KEY_PASSPHRASE", words)
    monkeypatch.setattr(service, "log_to_stderr", lambda: None)
    monkeypatch.setattr(uvicorn.Server, "run", lambda _, sockets: sockets[0].close())
    run = runner(monkeypatch, capsys)
    if words:
        assert run("keys", "protect").code == 0
    assert run("serve", "--port", "0").code == 0
    assert ("the keys are protected by nothing but the mode of their files" in caplog.text) is told


@pytest.mark.parametrize("command", ["status", "protect", "rotate"])
def test_where_no_station_is_none_is_made(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("GRIDWARD_KEY_PASSPHRASE", WORDS)
    refused = run(command)
    assert (refused.code, refused.err.count("\n")) == (5, 1)
    assert not (tmp_path / "nothing").exists()
