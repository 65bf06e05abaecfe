from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import Request

from api.error_responses import of_gridward_error
from data.errors import FileRefused, NoTrustedWeather
from forecasting.errors import ModelFileRefused, TooLittleHistory
from pipeline.errors import (
    AttestationRefused,
    BackupOutOfLine,
    ClaimsNotMet,
    DatabaseDamaged,
    DatabaseOutdated,
    DayNotForecastable,
    GateFailed,
    ModelWaits,
    NoActiveModel,
    PipelineError,
    RecoveryRunning,
    RecoveryUnfinished,
    StandingKept,
    TrialFailed,
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
from security.releases import ApprovalsMissing, NotAnOperator, NothingProposed, ReleaseConflict, ReleaseRefused
from security.sealed_bundle import BundleSwapped

HOME = Path("var/station")
CASES: list[tuple[GridwardError, int, str]] = [
    (TokenRefused("x"), 401, "token-refused"),
    (PermissionDenied("x"), 403, "permission-denied"),
    (RateLimited("x", retry_after_seconds=1.2), 429, "rate-limited"),
    (DayNotForecastable("a", "b", "c"), 422, "day-not-forecastable"),
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
    (GateFailed("r-1", ["b"]), 409, "pipeline"),
    (RecoveryUnfinished("r-1", "a", "auto"), 409, "pipeline"),
    (RecoveryRunning("x"), 503, "unavailable"),
    (UnavailableError("x"), 503, "unavailable"),
    (NoActiveModel(), 503, "unavailable"),
    (ReleaseRefused("expired", "x", where="y"), 409, "integrity"),
    (NotAnOperator("k", "x"), 409, "integrity"),
    (ApprovalsMissing("x", 2, ("ann",), ("bob",)), 503, "unavailable"),
    (NothingProposed(HOME), 503, "unavailable"),
    (ReleaseConflict("x"), 500, "unexpected"),
    (AccessError("x"), 500, "unexpected"),
    (GridwardError("x"), 500, "unexpected"),
]


def request() -> Request:
    serving = SimpleNamespace(station=SimpleNamespace(home=HOME))
    return cast(Request, SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(serving=serving))))


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
