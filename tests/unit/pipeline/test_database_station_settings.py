"""The ground a stage stands on: transactions, folders, keys, the log, settings from the environment."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import inspect, text
from sqlmodel import select

from data.quarantine import QuarantinedItem, quarantine
from pipeline.database import make_engine, transaction
from pipeline.settings import Settings
from pipeline.station import OWN_KEYS, OWNER, Station, note, open_station
from security.audit_check import verify_log
from security.audit_heads import read_heads
from security.audit_log import AuditEntry
from security.errors import KeyringError
from security.keyring import key_state, revoke_keys_of, trusted_keys

NOW = datetime(2024, 3, 1, tzinfo=UTC)


def put_aside(station: Station, reason: str) -> None:
    with transaction(station.engine) as session:
        quarantine(session, source="aurora", reason=reason, detail="", digest="", received_at=NOW)


def test_the_schema_of_every_room_is_there_from_the_start(tmp_path: Path) -> None:
    engine = make_engine("", tmp_path / "new" / "home")
    tables = set(inspect(engine).get_table_names())
    engine.dispose()
    wanted = {"key_record", "audit_entry", "quarantined_item", "snapshot_record", "forecast_record"}
    assert wanted <= tables
    assert (tmp_path / "new" / "home" / "gridward.sqlite").exists()


def test_another_database_is_named_by_its_url(tmp_path: Path) -> None:
    station = open_station(Settings(home=tmp_path / "home", database_url=f"sqlite:///{tmp_path / 'other.sqlite'}"))
    put_aside(station, "unauthentic")
    station.engine.dispose()
    assert (tmp_path / "other.sqlite").exists()
    assert not (tmp_path / "home" / "gridward.sqlite").exists()


def test_a_transaction_commits_whole_or_not_at_all(empty_station: Station) -> None:
    put_aside(empty_station, "kept")

    def stop_halfway() -> None:
        with transaction(empty_station.engine) as session:
            quarantine(session, source="aurora", reason="lost", detail="", digest="", received_at=NOW)
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        stop_halfway()
    with transaction(empty_station.engine) as session:
        assert [item.reason for item in session.exec(select(QuarantinedItem))] == ["kept"]


def test_a_transaction_that_reads_first_and_writes_later_is_never_outrun(empty_station: Station) -> None:
    with transaction(empty_station.engine) as session:
        session.connection().execute(text("CREATE TABLE counter (value INTEGER)"))
        session.connection().execute(text("INSERT INTO counter VALUES (0)"))
    failures: list[Exception] = []

    def count() -> None:
        try:
            for _ in range(20):
                with transaction(empty_station.engine) as session:
                    value = session.connection().execute(text("SELECT value FROM counter")).scalar_one()
                    session.connection().execute(text(f"UPDATE counter SET value = {value + 1}"))  # noqa: S608 (a number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with transaction(empty_station.engine) as session:
        assert session.connection().execute(text("SELECT value FROM counter")).scalar_one() == 60


def test_a_station_opened_again_is_the_same_one(empty_station: Station) -> None:
    again = open_station(Settings(home=empty_station.home))
    assert {p: s.key_id for p, s in again.signers.items()} == {p: s.key_id for p, s in empty_station.signers.items()}
    with transaction(again.engine) as session:
        for purpose in OWN_KEYS:
            assert list(trusted_keys(session, purpose)) == [again.signers[purpose].key_id]
    again.engine.dispose()


def test_its_folders_lie_below_its_home(empty_station: Station) -> None:
    home = empty_station.home
    assert {empty_station.readings, empty_station.snapshots, empty_station.models} == {
        home / "lake",
        home / "snapshots",
        home / "models",
    }
    assert empty_station.audit_heads.parent == home


def test_a_station_whose_own_key_was_revoked_does_not_open_as_if_nothing_had_happened(empty_station: Station) -> None:
    with transaction(empty_station.engine) as session:
        revoke_keys_of(session, "model", OWNER, "ops", "leaked", NOW)
    with pytest.raises(KeyringError, match="leaked"):
        open_station(Settings(home=empty_station.home))
    with transaction(empty_station.engine) as session:
        assert key_state(session, "model", OWNER) == "revoked"


def test_a_note_is_in_the_log_under_a_signed_head(empty_station: Station) -> None:
    note(empty_station, actor="ann", action="tea.made", subject="pot", details={"cups": 2}, at=NOW)
    note(empty_station, actor="ann", action="tea.drunk", subject="pot", details={}, at=NOW)
    with transaction(empty_station.engine) as session:
        heads = read_heads(empty_station.audit_heads, trusted_keys(session, "audit"))
        assert verify_log(session, heads) == 2
        assert [head.seq for head in heads] == [1, 2]
        assert [entry.action for entry in session.exec(select(AuditEntry))] == ["tea.made", "tea.drunk"]


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDWARD_HOME", "/somewhere/else")
    monkeypatch.setenv("GRIDWARD_RATE_LIMIT_PER_MINUTE", "7")
    monkeypatch.setenv("GRIDWARD_REPLAY_AT", "2014-03-01T09:00:00+11:00")
    settings = Settings()
    assert (settings.home, settings.rate_limit_per_minute) == (Path("/somewhere/else"), 7)
    assert settings.replay_at == datetime(2014, 2, 28, 22, tzinfo=UTC)
    assert settings.replay_at is not None
    assert settings.replay_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("replay_at", "2014-03-01T09:00:00"),
        ("replay_at", "tomorrow"),
        ("port", 70000),
        ("rate_limit_per_minute", 0),
        ("token_minutes", 721),
    ],
)
def test_settings_out_of_bounds_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})


def test_a_refused_setting_does_not_show_what_was_given() -> None:
    with pytest.raises(ValidationError) as refusal:
        Settings.model_validate({"database_url": ["postgresql://grid:hunter2@db/grid"]})
    assert "hunter2" not in str(refusal.value)


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]  # that is what is tried
