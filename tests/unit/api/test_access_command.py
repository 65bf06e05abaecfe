"""`gridward api-key`, `token-revoke`, `keys rotate-token-key`: who may ask, decided on the console."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.database import reading
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from security.api_keys import pepper_of
from security.credentials import read_credentials
from security.errors import TokenRefused
from security.identity import Identity
from tests.unit.api.commands import Run, runner
from tests.unit.pipeline.republish import acts


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "home"))
    open_station(Settings(home=tmp_path / "home")).engine.dispose()
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    assert home.exists()
    return runner(monkeypatch, capsys)


def station(home: Path) -> Station:
    return open_station(Settings(home=home))


def shown(home: Path, text: str) -> Identity:
    """Whom the service would see."""
    here, now = station(home), datetime.now(UTC)
    with reading(here.engine) as session:
        credentials = read_credentials(session, now)
    return credentials.identify(text, pepper_of(here.chest), now)


def test_a_key_is_printed_alone_and_opens_until_it_is_revoked(run: Run, home: Path) -> None:
    made = run("api-key", "create", "--role", "analyst", "--owner", "nightly", "--days", "2")
    key = made.out.strip()

    assert (made.code, made.err) == (0, "")
    assert (shown(home, key).subject, shown(home, key).role) == ("nightly", "analyst")
    assert run("api-key", "revoke", key[3:19], "--reason", "moved").code == 0
    with pytest.raises(TokenRefused):
        shown(home, key)
    listed = run("api-key", "list", "--json").json
    assert [(one["key_id"], one["state"]) for one in listed] == [(key[3:19], "revoked")]
    granted, revoked = acts(station(home), "access.granted"), acts(station(home), "access.revoked")
    assert ([entry.subject for entry in granted], [entry.subject for entry in revoked]) == (
        ["nightly"],
        [f"API key {key[3:19]}"],
    )
    assert key.rpartition("_")[2] not in granted[0].details


def test_what_cannot_be_is_refused_in_a_line(run: Run) -> None:
    unnamed = run("api-key", "create", "--role", "analyst", "--owner", "two words")
    unknown = run("api-key", "revoke", "0" * 16, "--reason", "x")
    silent = run("token-revoke", "0" * 32, "--reason", " ")
    nonsense = run("token-revoke", "nonsense", "--reason", "x")

    assert [outcome.code for outcome in (unnamed, unknown, silent, nonsense)] == [2, 3, 2, 2]
    assert "no API key of this id" in unknown.err


def test_without_a_station_nothing_is_made(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "nowhere"))

    outcome = run("api-key", "list")

    assert (outcome.code, "no station here" in outcome.err) == (5, True)
    assert not (tmp_path / "nowhere").exists()


def test_a_token_is_withdrawn_by_the_id_that_the_audit_log_holds(run: Run, home: Path) -> None:
    token = run("token", "--role", "admin", "--subject", "adele").out.strip()
    identity = shown(home, token)

    [entry] = acts(station(home), "access.granted")

    assert identity.token_id in entry.details
    assert run("token-revoke", identity.token_id, "--reason", "left on a train").code == 0
    with pytest.raises(TokenRefused):
        shown(home, token)


def test_a_rotated_key_signs_from_now_on_and_what_the_old_one_signed_still_opens(run: Run, home: Path) -> None:
    old = run("token", "--role", "analyst", "--subject", "ann").out.strip()
    before = station(home).signers["token"].key_id

    rotated = run("keys", "rotate-token-key", "--json").json
    new = run("token", "--role", "analyst", "--subject", "ann").out.strip()

    assert (rotated["token_key"], rotated["revoked"]) == (station(home).signers["token"].key_id, [])
    assert rotated["token_key"] != before
    assert shown(home, old).subject == shown(home, new).subject == "ann"


def test_a_leaked_key_is_believed_no_more(run: Run, home: Path) -> None:
    old = run("token", "--role", "analyst", "--subject", "ann").out.strip()
    before = station(home).signers["token"].key_id

    rotated = run("keys", "rotate-token-key", "--leaked", "--json").json
    new = run("token", "--role", "analyst", "--subject", "ann").out.strip()

    assert (rotated["revoked"], rotated["old_tokens_open_until"]) == ([before], None)
    assert shown(home, new).subject == "ann"
    with pytest.raises(TokenRefused):
        shown(home, old)
