"""A short run of `python -m benchmarks.api_fuzz`: hostile requests break no rule, and break one where a safeguard is off."""

from __future__ import annotations

from pathlib import Path

import pytest

import api.guards
from benchmarks.api_fuzz import Fuzz, Report
from tests.unit.api.small_station import build

TWISTED = 350


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("station") / "built")


def broken(report: Report) -> list[str]:
    return [
        f"{finding.rule}: {finding.route} {finding.status} {finding.told} {finding.request}" for finding in report.findings
    ]


def test_twisted_requests_break_no_rule(built: Path, tmp_path: Path) -> None:
    fuzz = Fuzz(built, tmp_path, seed=11)
    fuzz.twist(TWISTED)

    assert broken(fuzz.report) == []
    assert fuzz.report.asked == TWISTED
    assert {200, 401, 403, 404, 405, 422} <= set(fuzz.report.statuses), "some got past every gate, some were held at each"


def test_malformed_http_breaks_no_rule_and_smuggles_nothing(built: Path, tmp_path: Path) -> None:
    fuzz = Fuzz(built, tmp_path, seed=11)
    fuzz.on_the_wire()

    assert broken(fuzz.report) == []
    assert fuzz.report.twists["on the wire"][400] > 10


def test_what_a_route_raises_is_found_where_nothing_catches_it(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_gate(*_: object, **__: object) -> None:
        raise ZeroDivisionError(f"in {tmp_path}")

    monkeypatch.setattr(api.guards, "require", broken_gate)
    fuzz = Fuzz(built, tmp_path, seed=11)
    fuzz.twist(40)

    # Found where it was raised, and yet its text, a folder of this machine, is in no answer.
    assert set(fuzz.report.rules) == {"5xx", "an unexpected failure in the log"}, (
        "found, and its text leaks all the same not"
    )
