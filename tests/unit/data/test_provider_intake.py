"""Polling every provider at once: one that fails leaves the others be, and everything that came is kept."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlmodel import Session

from data.errors import ProviderFailed, ProviderReason
from data.providers.file import LARGEST_BYTES, WeatherFileProvider
from data.providers.http import HttpSettings
from data.providers.intake import Outcome, RequireKey, poll
from data.providers.met_norway import MetNorway
from data.providers.open_meteo import OpenMeteo
from data.providers.protocol import LastAnswer, ProviderAnswer, WeatherProvider
from security.keyring import register_key, require_active, revoke_keys_of
from security.signing import new_signer
from tests.unit.data.weather_server import (
    NOW,
    WeatherServer,
    met_norway,
    nws_grid,
    open_meteo,
    sends,
    serving,
    settings,
)

WEATHER = "timestamp,temperature_c\n2026-01-01T03:00:00Z,1.5\n2026-01-01T04:00:00Z,2.5\n"


@pytest.fixture
def server() -> Iterator[WeatherServer]:
    with serving() as running:
        running.says(sends(open_meteo()))
        yield running


@pytest.fixture
def other() -> Iterator[WeatherServer]:
    with serving() as running:
        running.says(sends(met_norway()))
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "intake"


@dataclass
class Stub:
    """A provider that does what it is told. act: called with `now`."""

    act: Any
    name: str = "stub"
    key_id: str | None = None

    def fetch(self, now: datetime, last: LastAnswer | None = None) -> ProviderAnswer:
        self.last = last
        return self.act(now)  # type: ignore[no-any-return]


def believed(key_id: str, name: str) -> None:
    """Every key record is active."""


def polled(folder: Path, *providers: WeatherProvider, require_key: RequireKey = believed, **more: Any) -> dict[str, Outcome]:
    return poll(providers, more.pop("last", {}), NOW, folder=folder, require_key=require_key, **more)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    kept = [json.loads(path.read_text()) for path in sorted((folder / "records").iterdir())]
    return {record["provider"]: record for record in kept}


def meteo(server: WeatherServer, **changes: Any) -> OpenMeteo:
    return OpenMeteo(52.52, 13.41, "k1", settings(), base_url=server.url, **changes)


def norway(server: WeatherServer) -> MetNorway:
    return MetNorway(59.91, 10.75, "k2", settings(), base_url=server.url)


# Side by side


def test_every_provider_answers_for_itself(server: WeatherServer, other: WeatherServer, folder: Path) -> None:
    outcomes = polled(folder, meteo(server), norway(other))
    assert list(outcomes) == ["open_meteo", "met_norway"]
    assert [type(outcome) for outcome in outcomes.values()] == [ProviderAnswer, ProviderAnswer]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (sends("busy", status=500), "http_status"),
        (sends("<html>", content_type="text/html"), "bad_type"),
        (sends(nws_grid()), "malformed"),
        (sends(met_norway(updated_at=NOW + timedelta(days=1))), "from_the_future"),
    ],
)
def test_one_that_fails_leaves_the_others_be(
    server: WeatherServer, other: WeatherServer, folder: Path, reply: Any, reason: str
) -> None:
    other.says(reply)
    outcomes = polled(folder, norway(other), meteo(server))
    failed = outcomes["met_norway"]
    assert isinstance(failed, ProviderFailed)
    assert failed.reason == reason
    assert isinstance(outcomes["open_meteo"], ProviderAnswer)


def test_one_that_is_late_is_not_waited_for(server: WeatherServer, folder: Path) -> None:
    done = threading.Event()
    started = time.monotonic()
    outcomes = polled(folder, Stub(lambda _: done.wait(60)), meteo(server), deadline_seconds=2.0)
    assert time.monotonic() - started < 20
    done.set()
    late = outcomes["stub"]
    assert isinstance(late, ProviderFailed)
    assert late.reason == "timeout"
    assert isinstance(outcomes["open_meteo"], ProviderAnswer)


def test_a_fault_of_our_own_that_an_answer_set_off_does_not_silence_the_others(server: WeatherServer, folder: Path) -> None:
    def broken(_: datetime) -> None:
        raise ZeroDivisionError("secret detail")

    outcomes = polled(folder, Stub(broken), meteo(server))
    failed = outcomes["stub"]
    assert isinstance(failed, ProviderFailed)
    assert (failed.reason, failed.problem) == ("unexpected", "ZeroDivisionError while it was asked")
    assert isinstance(failed.__cause__, ZeroDivisionError)
    assert isinstance(outcomes["open_meteo"], ProviderAnswer)


def test_each_is_told_what_its_own_last_answer_left(server: WeatherServer, other: WeatherServer, folder: Path) -> None:
    other.says(sends(met_norway(), headers={"ETag": '"m1"'}))
    first = polled(folder, meteo(server), norway(other))
    last = {name: answer.last for name, answer in first.items() if isinstance(answer, ProviderAnswer)}
    polled(folder, meteo(server), norway(other), last=last)
    assert other.headers[1]["if-none-match"] == '"m1"'
    assert "if-none-match" not in server.headers[1]


def test_nobody_to_ask_is_no_fault(folder: Path) -> None:
    assert polled(folder) == {}


@pytest.mark.parametrize("names", [["a", "a"], ["../a"], [""], ["a.b"], ["ä"]])
def test_names_are_plain_and_distinct_since_they_name_files(folder: Path, names: list[str]) -> None:
    with pytest.raises(ValueError, match="provider names"):
        polled(folder, *(Stub(None, name=name) for name in names))


# What is kept


def test_an_accepted_payload_is_kept_under_its_digest_with_a_record(server: WeatherServer, folder: Path) -> None:
    answer = polled(folder, meteo(server))["open_meteo"]
    assert isinstance(answer, ProviderAnswer)
    payload = (folder / "payloads" / answer.digest).read_bytes()
    assert payload == answer.payload
    assert sha256(payload).hexdigest() == answer.digest
    record = records(folder)["open_meteo"]
    assert (record["outcome"], record["sha256"], record["key_id"]) == ("accepted", answer.digest, "k1")
    assert datetime.fromisoformat(record["received_at"]) == answer.received_at
    assert record["bytes"] == len(payload)


def test_a_refused_payload_is_kept_too_with_the_reason(server: WeatherServer, folder: Path) -> None:
    server.says(sends("<html>log in</html>", content_type="text/html"))
    polled(folder, meteo(server))
    record = records(folder)["open_meteo"]
    assert (record["outcome"], record["reason"]) == ("refused", "bad_type")
    assert (folder / "payloads" / record["sha256"]).read_bytes() == b"<html>log in</html>"


def test_nothing_new_leaves_a_record_and_no_payload(server: WeatherServer, folder: Path) -> None:
    server.says(sends(b"", status=304))
    chosen = meteo(server)
    polled(folder, chosen, last={"open_meteo": LastAnswer(chosen.url, NOW, etag='"o1"')})
    record = records(folder)["open_meteo"]
    assert (record["outcome"], record["sha256"]) == ("unchanged", "")
    assert not (folder / "payloads").exists()


def test_only_we_may_read_what_is_kept(server: WeatherServer, folder: Path) -> None:
    polled(folder, meteo(server))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_kept_payload_that_was_altered_is_put_right_by_the_next_one(server: WeatherServer, folder: Path) -> None:
    answer = polled(folder, meteo(server))["open_meteo"]
    assert isinstance(answer, ProviderAnswer)
    kept = folder / "payloads" / answer.digest
    kept.write_bytes(b"altered")
    polled(folder, meteo(server))
    assert kept.read_bytes() == answer.payload


def test_the_api_key_is_in_nothing_that_is_kept(server: WeatherServer, folder: Path) -> None:
    polled(folder, meteo(server, api_key="s3cret"))
    assert "apikey=s3cret" in server.asked[0]
    assert all(b"s3cret" not in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_where_evidence_cannot_be_kept_nothing_is_taken_and_no_half_file_stays(
    server: WeatherServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        polled(folder, meteo(server))
    assert [path for path in folder.rglob("*") if path.is_file()] == []


# Key records


@pytest.fixture
def key_id(session: Session) -> str:
    key = new_signer().public_key
    return register_key(
        session, purpose="provider", owner="open_meteo", public_key=key, by="ops", reason="contract", at=NOW
    ).key_id


def revoke(session: Session) -> None:
    revoke_keys_of(session, "provider", "open_meteo", "ops", "account taken over", NOW)


def keyed(session: Session) -> RequireKey:
    return lambda key_id, name: require_active(session, key_id, "provider", name)


def test_a_provider_with_an_active_key_record_is_asked(
    server: WeatherServer, session: Session, key_id: str, folder: Path
) -> None:
    outcome = polled(folder, OpenMeteo(52.52, 13.41, key_id, settings(), base_url=server.url), require_key=keyed(session))
    assert isinstance(outcome["open_meteo"], ProviderAnswer)


@pytest.mark.parametrize("record", ["revoked", "unknown", "another's"])
def test_a_provider_without_an_active_key_record_of_its_own_is_not_even_asked(
    server: WeatherServer, session: Session, key_id: str, folder: Path, record: str
) -> None:
    if record == "revoked":
        revoke(session)
    name = "impostor" if record == "another's" else "open_meteo"
    chosen = OpenMeteo(52.52, 13.41, "0" * 64 if record == "unknown" else key_id, settings(), name=name, base_url=server.url)
    file = WeatherFileProvider(folder.parent / "own.csv", "own")
    file.path.write_text(WEATHER)
    outcomes = polled(folder, chosen, file, require_key=keyed(session))
    failed = outcomes[name]
    assert isinstance(failed, ProviderFailed)
    assert failed.reason == "revoked"
    assert server.asked == []
    # One's own file has no key record that could be revoked.
    assert isinstance(outcomes["own"], ProviderAnswer)


def test_a_key_revoked_while_its_provider_is_asked_refuses_what_it_then_answers(
    server: WeatherServer, session: Session, key_id: str, folder: Path
) -> None:
    asked = []

    def require(key_id: str, name: str) -> None:
        asked.append(len(server.asked))
        if server.asked:
            revoke(session)
        require_active(session, key_id, "provider", name)

    outcomes = polled(folder, OpenMeteo(52.52, 13.41, key_id, settings(), base_url=server.url), require_key=require)
    failed = outcomes["open_meteo"]
    assert isinstance(failed, ProviderFailed)
    assert failed.reason == "revoked"
    assert asked == [0, 1]
    # The payload stays as evidence.
    assert records(folder)["open_meteo"]["bytes"] > 0


# What is written of it


def test_every_reason_is_documented_and_no_other() -> None:
    page = (Path(__file__).parents[3] / "docs" / "providers.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page.partition("## Refusals")[2], re.MULTILINE)) == set(
        get_args(ProviderReason)
    )


def test_every_setting_is_documented_with_its_default() -> None:
    page = (Path(__file__).parents[3] / "docs" / "providers.md").read_text(encoding="utf-8")
    section = page.partition("## Settings")[2].partition("## ")[0]
    documented = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE))
    usual = HttpSettings("a", frozenset())
    shown = {field.name: f"`{getattr(usual, field.name)}`" for field in fields(HttpSettings)}
    assert documented == shown | {"user_agent": "none", "allowed_hosts": "none", "plain_hosts": "empty"}


# A file as a provider


def write(tmp_path: Path, text: str = WEATHER, name: str = "w.csv") -> WeatherFileProvider:
    path = tmp_path / name
    path.write_text(text)
    return WeatherFileProvider(path, "own")


def test_a_file_answers_with_the_times_it_states(tmp_path: Path) -> None:
    answer = write(tmp_path).fetch(NOW)
    assert list(answer.frame["temperature_c"]) == [1.5, 2.5]
    assert list(answer.frame["issued_at"].dt.hour) == [4, 5]
    assert answer.received_at == NOW
    assert answer.digest == sha256(WEATHER.encode()).hexdigest()


def test_a_file_in_another_unit_is_converted(tmp_path: Path) -> None:
    text = WEATHER.replace("temperature_c", "temperature_f").replace("1.5", "32").replace("2.5", "50")
    assert write(tmp_path, text).fetch(NOW).frame["temperature_c"].to_list() == pytest.approx([0, 10])


def test_a_file_that_breaks_the_contract_is_malformed_and_the_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProviderFailed) as caught:
        write(tmp_path, WEATHER.replace("2.5", "NaN")).fetch(NOW)
    assert caught.value.reason == "malformed"
    assert caught.value.problem.startswith("row 3: ")
    assert caught.value.payload


def test_a_file_that_claims_to_know_the_future_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProviderFailed) as caught:
        write(tmp_path).fetch(NOW - timedelta(hours=3))
    assert caught.value.reason == "from_the_future"


def test_a_file_put_back_to_an_older_one_is_replayed(tmp_path: Path) -> None:
    last = write(tmp_path, WEATHER + "2026-01-01T05:00:00Z,3.5\n").fetch(NOW).last
    with pytest.raises(ProviderFailed) as caught:
        write(tmp_path).fetch(NOW, last)
    assert caught.value.reason == "replayed"


def test_what_is_no_file_is_unreachable(tmp_path: Path) -> None:
    missing, directory = tmp_path / "none.csv", tmp_path / "folder.csv"
    directory.mkdir()
    for path in (missing, directory):
        with pytest.raises(ProviderFailed) as caught:
            WeatherFileProvider(path, "own").fetch(NOW)
        assert caught.value.reason == "unreachable"


def test_a_file_of_more_than_64_mib_is_refused(tmp_path: Path) -> None:
    provider = write(tmp_path)
    with provider.path.open("r+b") as file:
        file.truncate(LARGEST_BYTES + 1)
    with pytest.raises(ProviderFailed) as caught:
        provider.fetch(NOW)
    assert caught.value.reason == "too_large"
