from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import Request

from api.error_responses import of_gridward_error
from api.metrics import Metrics
from data.errors import FileRefused, NoTrustedWeather
from forecasting.errors import ModelFileRefused, TooLittleHistory
from pipeline.errors import (
    AnswerInFlight,
    AttestationRefused,
    BackupOutOfLine,
    ClaimsNotMet,
    DatabaseBehind,
    DatabaseDamaged,
    DatabaseNewer,
    DatabaseOutdated,
    DayLearned,
    DayNotForecastable,
    GateFailed,
    IdempotencyMismatch,
    IncidentClosed,
    JobKept,
    ModelWaits,
    NoActiveModel,
    NoWeatherToChange,
    PipelineError,
    RecoveryRunning,
    RecoveryUnfinished,
    StandingKept,
    TooManyJobs,
    TrialFailed,
    WeatherImpossible,
    WrongLength,
)
from security.errors import (
    AccessError,
    AuditLogBroken,
    ContentChanged,
    GridwardError,
    KeyringError,
    PermissionDenied,
    RateLimited,
    SignatureInvalid,
    TokenRefused,
    UnavailableError,
)
from security.query_guard import ChallengeRequired, QueryBlocked
from security.releases import ApprovalsMissing, NotAnOperator, NothingProposed, ReleaseConflict, ReleaseRefused
from security.sealed_bundle import BundleSwapped
from tests.unit.api.small_station import Service

HOME = Path("var/station")
CASES: list[tuple[GridwardError, int, str]] = [
    (TokenRefused("x"), 401, "token-refused"),
    (PermissionDenied("x"), 403, "permission-denied"),
    (ChallengeRequired("x", 0.0), 403, "challenge-required"),
    (QueryBlocked("x", 0.0), 403, "query-blocked"),
    (RateLimited("x", retry_after_seconds=1.2), 429, "rate-limited"),
    (DayNotForecastable("a", "b", "c"), 422, "day-not-forecastable"),
    (DayLearned("a", "b", "c"), 422, "day-learned"),
    (IdempotencyMismatch("k"), 422, "idempotency-mismatch"),
    (AnswerInFlight("k"), 409, "idempotency-in-flight"),
    (TooManyJobs("ann", 5), 429, "rate-limited"),
    (JobKept("j-1", "done"), 409, "pipeline"),
    (IncidentClosed("i-1", "bob"), 409, "pipeline"),
    (ClaimsNotMet(["x"]), 409, "pipeline"),
    (ModelWaits("x", (), 2), 409, "pipeline"),
    (SignatureInvalid("x"), 409, "integrity"),
    (ContentChanged("x"), 409, "integrity"),
    (AuditLogBroken("x"), 409, "integrity"),
    (KeyringError("x"), 409, "integrity"),
    (BundleSwapped("x"), 409, "integrity"),
    (TrialFailed("x"), 409, "integrity"),
    (AttestationRefused("x", where="y"), 409, "integrity"),
    (BackupOutOfLine(1, "x"), 409, "integrity"),
    (DatabaseDamaged("x", "y"), 409, "integrity"),
    (ModelFileRefused("x", part="y"), 409, "forecasting"),
    (TooLittleHistory(found_days=1, needed_days=2), 409, "forecasting"),
    (NoTrustedWeather("x"), 409, "data"),
    (FileRefused("x", path="y"), 409, "data"),
    (PipelineError("x"), 409, "pipeline"),
    (StandingKept("a", "trusted", "b", "c"), 409, "pipeline"),
    (DatabaseOutdated("a", ["b"]), 409, "pipeline"),
    (DatabaseBehind("0001", "0002"), 409, "pipeline"),
    (DatabaseNewer("0003", "0002"), 409, "pipeline"),
    (GateFailed("r-1", ["b"]), 409, "pipeline"),
    (NoWeatherToChange("a"), 409, "pipeline"),
    (WeatherImpossible("a", ("b", "c")), 422, "weather-impossible"),
    (WrongLength("a", 47, 48), 422, "invalid-request"),
    (RecoveryUnfinished("r-1", "a", "auto"), 409, "pipeline"),
    (RecoveryRunning("x"), 503, "unavailable"),
    (UnavailableError("x"), 503, "unavailable"),
    (NoActiveModel(), 503, "unavailable"),
    (ReleaseRefused("expired", "x", where="y"), 409, "integrity"),
    (NotAnOperator("k", "x"), 409, "integrity"),
    (ApprovalsMissing("x", 2, ("ann",), ("bob",)), 503, "unavailable"),
    (NothingProposed(HOME), 503, "unavailable"),
    (ReleaseConflict("x"), 409, "release-conflict"),
    (AccessError("x"), 500, "unexpected"),
    (GridwardError("x"), 500, "unexpected"),
]


def request() -> Request:
    house = SimpleNamespace(serving=SimpleNamespace(station=SimpleNamespace(home=HOME)), metrics=Metrics())
    return cast(Request, SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(house=house))))


def body(error: GridwardError) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(bytes(of_gridward_error(request(), error).body))
    return content


@pytest.mark.parametrize(("error", "status", "kind"), CASES, ids=lambda value: type(value).__name__)
def test_each_error_has_its_status_and_type(error: GridwardError, status: int, kind: str) -> None:
    answer = of_gridward_error(request(), error)

    assert answer.status_code == status
    assert answer.media_type == "application/problem+json"
    assert body(error)["type"] == f"urn:gridward:problem:{kind}"
    assert body(error)["status"] == status
    assert body(error)["detail"] == str(error)


def test_every_class_of_the_error_tree_was_tried() -> None:
    def below(cls: type[GridwardError]) -> set[type[GridwardError]]:
        return {cls}.union(*(below(child) for child in cls.__subclasses__()))

    direct = {cls for cls in below(GridwardError) if cls.__module__ in {"security.errors", "pipeline.errors"}}
    tried = {type(error) for error, _, _ in CASES}

    assert direct - tried <= {cls for cls in direct if cls.__subclasses__()}


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (1.2, "2"), (59.9, "60")])
def test_a_limited_caller_is_told_when_to_come_back(seconds: float, header: str) -> None:
    assert of_gridward_error(request(), RateLimited("x", retry_after_seconds=seconds)).headers["retry-after"] == header


@pytest.mark.parametrize("home", [HOME, HOME.resolve()])
def test_folders_of_this_machine_are_not_told(home: Path) -> None:
    error = SignatureInvalid("no trusted key signed this", where=str(home / "models" / "abc"))

    assert body(error)["detail"] == "models/abc: no trusted key signed this"


def test_a_method_that_a_path_has_not_is_told_with_all_that_it_has(shared: Service) -> None:
    answer = shared.ask("DELETE", "/v1/forecasts")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert shared.ask("PUT", "/v1/api-keys").headers["allow"] == "GET, POST"


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"[" * 20_000, b'{"day": ' + b"9" * 5000 + b"}"])
def test_a_body_that_is_no_json_is_an_invalid_request(shared: Service, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}

    answer = shared.ask("POST", "/v1/forecasts", role="analyst", content=body, headers=headers)

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:gridward:problem:invalid-request"


def test_a_path_with_a_slash_too_many_is_not_found_and_not_redirected(shared: Service) -> None:
    answer = shared.ask("GET", "/v1/models/", role="analyst", headers={"Host": "evil.example"})

    assert answer.status_code == 404
    assert "location" not in answer.headers
