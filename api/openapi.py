"""The OpenAPI document: FastAPI's own, with the failures every route can answer told as they are.

Each route gains the problem documents of the gates it stands behind; FastAPI's own account of a 422, which this service
never answers, goes.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.error_responses import PROBLEM_TYPE
from api.schemas.problem import Flaw, Problem

_REFERENCE = "#/components/schemas/{model}"
_GATES = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")
_EXAMPLE = {
    "type": "urn:gridward:problem:rate-limited",
    "title": "Too Many Requests",
    "status": 429,
    "detail": "more than 120 requests in a minute — try again in 12 s",
}


def document(app: FastAPI) -> dict[str, Any]:
    """The document of `app`, made once and kept."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        for name in _FASTAPIS_OWN:
            schemas.pop(name, None)
        for model in (Problem, Flaw):
            schema = model.model_json_schema(ref_template=_REFERENCE)
            schema.pop("$defs", None)
            schemas[model.__name__] = schema
        for methods in made["paths"].values():
            for operation in methods.values():
                operation["responses"] = {**operation["responses"], **_failures(guarded="x-permission" in operation)}
        app.openapi_schema = made
    return app.openapi_schema


def _failures(*, guarded: bool) -> dict[str, Any]:
    by_gate = {str(int(status)): _problem(status.phrase) for status in _GATES} if guarded else {}
    return {**by_gate, "default": _problem("Any other failure")}


def _problem(description: str) -> dict[str, Any]:
    shape = {"schema": {"$ref": _REFERENCE.format(model=Problem.__name__)}, "example": _EXAMPLE}
    return {"description": description, "content": {PROBLEM_TYPE: shape}}
