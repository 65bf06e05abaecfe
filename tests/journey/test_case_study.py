"""The whole story, run once, and held against what is claimed of it."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from data.provenance import blast_radius
from pipeline.case_study import run
from pipeline.database import transaction
from pipeline.settings import Settings
from pipeline.station import open_station
from security.audit_check import verify_log
from security.audit_heads import read_heads
from security.keyring import trusted_keys

WORLDS = ("clean", "undefended", "defended")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("story") / "case-study"
    run(1, out)
    return out


@pytest.fixture(scope="module")
def story(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "case_study.json").read_text())
    return content


def days_within(story: dict[str, Any], world: str, first: str, last: str) -> list[dict[str, Any]]:
    return [day for day in story["days"][world] if first <= day["day"] <= last]


def mape(days: list[dict[str, Any]]) -> float:
    intervals = sum(day["intervals"] for day in days)
    return float(sum(day["mape_percent"] * day["intervals"] for day in days) / intervals)


def mild_bias(days: list[dict[str, Any]]) -> float:
    actual = sum(day["mild_actual_mwh"] for day in days)
    return float((sum(day["mild_forecast_mwh"] for day in days) / actual - 1) * 100)


def test_every_window_follows_from_the_days(story: dict[str, Any]) -> None:
    for name, window in story["windows"].items():
        for world in WORLDS:
            days = days_within(story, world, window["first"], window["last"])
            assert len(days) == window[world]["days"], name
            assert window[world]["mape_percent"] == pytest.approx(mape(days), abs=0.001)
            assert window[world]["mild_bias_percent"] == pytest.approx(mild_bias(days), abs=0.001)


def test_every_month_follows_from_the_days(story: dict[str, Any]) -> None:
    for world in WORLDS:
        for month, figures in story["months"][world].items():
            days = days_within(story, world, f"{month}-01", f"{month}-31")
            assert figures["mape_percent"] == pytest.approx(mape(days), abs=0.001)
            assert figures["over_mwh"] == pytest.approx(sum(day["over_mwh"] for day in days), abs=0.2)


def test_the_undefended_utility_overestimates_mild_weather_while_its_mape_looks_bearable(story: dict[str, Any]) -> None:
    window = story["windows"]["last three attacked months"]
    undefended = days_within(story, "undefended", window["first"], window["last"])
    clean = days_within(story, "clean", window["first"], window["last"])
    assert mild_bias(undefended) >= 2.5
    assert mape(undefended) < 2 * mape(clean)
    assert story["attack"]["outside_climatology"] == 0


def test_the_defended_world_stays_by_the_clean_one_and_recovery_comes_back_to_it(story: dict[str, Any]) -> None:
    for world, name in (
        ("defended", "attack"),
        ("defended", "last three attacked months"),
        ("undefended", "after recovery"),
    ):
        window = story["windows"][name]
        there = days_within(story, world, window["first"], window["last"])
        clean = days_within(story, "clean", window["first"], window["last"])
        assert abs(mild_bias(there) - mild_bias(clean)) <= 0.3, (world, name)
        assert abs(mape(there) - mape(clean)) <= 0.15, (world, name)


def test_the_models_have_learned_wrongly_and_not_only_been_lied_to(story: dict[str, Any]) -> None:
    clean = story["windows"]["last three attacked months"]["clean"]["mild_bias_percent"]
    assert story["learned"]["mild_bias_percent"] > clean


def test_the_claims_are_judged_as_they_stand(story: dict[str, Any]) -> None:
    for claim in story["bounds"]:
        value, limit = claim["value"], claim["limit"]
        assert claim["holds"] == {"<=": value <= limit, "<": value < limit, ">=": value >= limit}[claim["relation"]]
        assert claim["holds"], claim


def test_the_order_of_events_is_the_incidents(story: dict[str, Any]) -> None:
    for world in ("undefended", "defended"):
        timeline = story["timeline"][world]
        order = [timeline[event] for event in ("compromise", "suspicion", "attribution", "quarantine")]
        assert order == sorted(order)
        assert None not in order
    assert story["timeline"]["defended"]["quarantine"] < story["timeline"]["undefended"]["quarantine"]
    assert story["detector"]["clean"]["alarm"] is None, "a false alarm in the clean world"


def test_the_service_answered_each_role_as_it_should(story: dict[str, Any]) -> None:
    assert [exchange["act"] for exchange in story["service"] if exchange["status"] != exchange["wanted"]] == []
    statuses = {(exchange["role"], exchange["request"].split()[1], exchange["status"]) for exchange in story["service"]}
    assert ("analyst", "/v1/retrain", 403) in statuses
    commands = [exchange for exchange in story["service"] if exchange["request"].startswith("gridward ")]
    recoveries = [exchange["status"] for exchange in commands if " recover " in exchange["request"]]
    assert recoveries == [-9], "one that is killed; the service goes on with it"
    ordered = [exchange["status"] for exchange in story["service"] if exchange["request"] == "POST /v1/recoveries"]
    assert ordered == [200, 202], "a dry run, and the job"
    followed = next(exchange for exchange in story["service"] if exchange["request"].endswith("/events"))
    assert "asking the gates" in followed["answer"]["stages"]
    assert {"trace provider", "snapshot verify", "backup create", "backup restore"} <= {
        " ".join(exchange["request"].split()[1:3]) for exchange in commands
    }
    assert ("operator", "/v1/models/reload", 409) in statuses


def test_the_fallback_answered_while_no_weather_was_trusted(story: dict[str, Any]) -> None:
    assert "none" in [exchange["answer"].get("weather") for exchange in story["service"]]


def test_what_was_touched_is_what_the_ledger_says_and_nothing_after_the_recovery(
    folder: Path, story: dict[str, Any]
) -> None:
    station = open_station(Settings(home=folder / "worlds" / "undefended"))
    told = story["touched"]["undefended"]
    with transaction(station.engine) as session:
        touched = blast_radius(session, story["attack"]["provider"], datetime.fromisoformat(told["since"]))
    assert told["models"] == list(touched.models)
    assert told["forecasts"] == list(touched.forecasts)
    after = {
        day["model_id"] for day in story["days"]["undefended"] if day["day"] >= story["timeline"]["undefended"]["recovery"]
    }
    assert after.isdisjoint(touched.models)


def test_every_world_keeps_an_audit_log_that_verifies(folder: Path) -> None:
    for world in WORLDS:
        station = open_station(Settings(home=folder / "worlds" / world))
        with transaction(station.engine) as session:
            heads = read_heads(station.audit_heads, trusted_keys(session, "audit"))
            assert verify_log(session, heads) > 10


def test_the_report_is_one_file_that_asks_nothing_of_the_network(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)[^"']+""", page) == []
    assert "@import" not in page
    assert not re.search(r"url\((?!['\"]?(#|data:))", page)


def test_no_private_key_and_no_token_is_in_anything_a_reader_gets(folder: Path) -> None:
    for path in (folder / "report.html", folder / "case_study.json", *folder.glob("worlds/*/service.log")):
        text = path.read_text()
        assert "PRIVATE KEY" not in text
        assert not re.search(r"eyJ[A-Za-z0-9_-]{10,}\.", text), f"a token in {path.name}"


def test_it_says_where_the_time_went(story: dict[str, Any]) -> None:
    assert story["timings_seconds"]["total"] > 0


def test_the_readme_quotes_this_run(story: dict[str, Any]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    window = story["windows"]["last three attacked months"]
    for world in WORLDS:
        row = re.search(rf"^\| {world}: [^|]+\| ([0-9.]+) \| ([+-][0-9.]+) \|$", readme, re.MULTILINE)
        assert row is not None, world
        # Another processor rounds otherwise, and boosting carries that on: close, not equal.
        assert float(row[1]) == pytest.approx(window[world]["mape_percent"], abs=0.05)
        assert float(row[2]) == pytest.approx(window[world]["mild_bias_percent"], abs=0.3)
    timeline = story["timeline"]
    began = date.fromisoformat(timeline["undefended"]["compromise"])
    quoted = re.search(r"suspects after (\d+) days and is back after (\d+); the defended .* after (\d+)\.", readme)
    assert quoted is not None
    found = (timeline["undefended"]["suspicion"], timeline["undefended"]["recovery"], timeline["defended"]["quarantine"])
    for days, day in zip(quoted.groups(), found, strict=True):
        assert int(days) == pytest.approx((date.fromisoformat(day) - began).days, abs=7)
