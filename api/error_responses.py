"""What a caller hears of an error: one table, and RFC 9457 problem documents.

A problem says what is wrong and how to mend it; it never holds a token, a trace or a folder of this machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from data.errors import DataError
from forecasting.errors import ForecastingError
from pipeline.errors import (
    AnswerInFlight,
    DayLearned,
    DayNotForecastable,
    IdempotencyMismatch,
    PipelineError,
    WeatherImpossible,
    WrongLength,
)
from security.errors import (
    GridwardError,
    IntegrityError,
    PermissionDenied,
    RateLimited,
    TokenRefused,
    UnavailableError,
)
from security.query_guard import ChallengeRequired, QueryBlocked
from security.releases import ReleaseConflict

UNAVAILABLE_RETRY_SECONDS = 5
PROBLEM_TYPE = "application/problem+json"

# The first class that fits decides; docs/api.md lists every type (a test compares).
PROBLEMS: tuple[tuple[type[GridwardError], HTTPStatus, str], ...] = (
    (TokenRefused, HTTPStatus.UNAUTHORIZED, "token-refused"),
    (PermissionDenied, HTTPStatus.FORBIDDEN, "permission-denied"),
    (RateLimited, HTTPStatus.TOO_MANY_REQUESTS, "rate-limited"),
    (ChallengeRequired, HTTPStatus.FORBIDDEN, "challenge-required"),
    (QueryBlocked, HTTPStatus.FORBIDDEN, "query-blocked"),
    (DayNotForecastable, HTTPStatus.UNPROCESSABLE_ENTITY, "day-not-forecastable"),
    (DayLearned, HTTPStatus.UNPROCESSABLE_ENTITY, "day-learned"),
    (IdempotencyMismatch, HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-mismatch"),
    (AnswerInFlight, HTTPStatus.CONFLICT, "idempotency-in-flight"),
    (WeatherImpossible, HTTPStatus.UNPROCESSABLE_ENTITY, "weather-impossible"),
    (WrongLength, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request"),
    (ReleaseConflict, HTTPStatus.CONFLICT, "release-conflict"),
    (IntegrityError, HTTPStatus.CONFLICT, "integrity"),
    (ForecastingError, HTTPStatus.CONFLICT, "forecasting"),
    (DataError, HTTPStatus.CONFLICT, "data"),
    (PipelineError, HTTPStatus.CONFLICT, "pipeline"),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    (GridwardError, HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected"),
)
INVALID_REQUEST = "invalid-request"
HTTP = "http"


def problem(
    status: int, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """A problem document of type `urn:gridward:problem:KIND`."""
    content = {
        "type": f"urn:gridward:problem:{kind}",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        **members,
    }
    return JSONResponse(content, int(status), dict(headers or {}), media_type=PROBLEM_TYPE)


def of_gridward_error(request: Request, error: Exception) -> JSONResponse:
    """One of our own errors, by the table."""
    assert isinstance(error, GridwardError)  # noqa: S101 (registered for this class; tells mypy)
    status, kind = next((status, kind) for cls, status, kind in PROBLEMS if isinstance(error, cls))
    headers = {}
    if isinstance(error, TokenRefused):
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, RateLimited):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    elif isinstance(error, AnswerInFlight):
        headers["Retry-After"] = "1"
    elif isinstance(error, UnavailableError):
        headers["Retry-After"] = str(UNAVAILABLE_RETRY_SECONDS)
    house = request.app.state.house
    house.metrics.refused(kind)
    home = house.serving.station.home
    detail = str(error).replace(f"{home.resolve()}/", "").replace(f"{home}/", "")
    return problem(status, kind, detail, headers=headers)


def of_invalid_request(_: Request, error: Exception) -> JSONResponse:
    """A request that does not have the documented shape: where and why, without echoing what was sent."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 (registered for this class; tells mypy)
    errors = [{"where": ".".join(str(part) for part in item["loc"]), "why": item["msg"]} for item in error.errors()]
    detail = "; ".join(f"{item['where']}: {item['why']}" for item in errors[:3])
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, INVALID_REQUEST, detail, errors=errors[:20])


def of_http_exception(request: Request, error: Exception) -> JSONResponse:
    """What the framework or a route says with a bare status: 404, 405, 406, 409, 413."""
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for this class; tells mypy)
    if error.status_code == HTTPStatus.BAD_REQUEST:
        # The framework's word for a body that is no JSON at all.
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, INVALID_REQUEST, "the body cannot be read as JSON")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(sorted(_methods_of(request)))}
        return problem(error.status_code, HTTP, error.detail, headers=headers)
    return problem(error.status_code, HTTP, error.detail, headers=error.headers)


def _methods_of(request: Request) -> set[str]:
    """What the path of a request may be asked with, by all routes that have it: the framework names those of one."""
    path = request.scope["path"]
    having = [route for route in request.app.state.routes if route.path_regex.match(path)]
    # One of this very path is meant, where a template would take it for a name.
    exact = [route for route in having if route.path == path]
    return {method for route in exact or having for method in route.methods or ()}
