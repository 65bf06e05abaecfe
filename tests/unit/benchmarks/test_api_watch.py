"""The watch finds what it is there for, and nothing in an answer that keeps the rules."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from benchmarks.api_asked import asked
from benchmarks.api_grammar import Attempt
from benchmarks.api_watch import Watch, documented_problems, forms_of

SECRET = b"\x01\xfe" * 16
PROBLEMS = documented_problems("| `urn:gridward:problem:http` | 404, 503 | no such route |\n| `x` | 1 | y |\n")
FRAME = {"x-request-id": "a" * 32}
FAILURE = {"type": "urn:gridward:problem:http", "title": "Not Found", "status": 404, "detail": "no such route"}


class Told:
    """An application that always answers the same."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def watched(status: int, headers: dict[str, str], body: bytes, *, path: str = "/v1/x", sent: bytes = b"") -> Watch:
    watch = Watch(Told(status, headers, body), [SECRET], PROBLEMS)
    attempt = Attempt("right", "GET /v1/x", None, "GET", path, "", (), (sent,) if sent else ())
    asyncio.run(asked(watch, attempt, None, 0))
    return watch


def json_answer(content: Any, status: int = 200, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, {**FRAME, "content-type": "application/json", **headers}, json.dumps(content).encode()


def problem(**changes: Any) -> tuple[int, dict[str, str], bytes]:
    return 404, {**FRAME, "content-type": "application/problem+json"}, json.dumps(FAILURE | changes).encode()


def test_answers_that_keep_the_rules_are_left_alone_and_are_to_stand_in_the_audit_log():
    assert not watched(*json_answer({"a": 1})).counted
    assert not watched(*problem()).counted
    assert list(watched(*problem()).to_account) == ["a" * 32]
    assert not watched(*problem(), path="/docs").to_account


def test_a_gate_that_closed_is_no_failure_of_ours_if_it_says_when_to_come_back():
    assert not watched(503, problem()[1] | {"retry-after": "5"}, json.dumps(FAILURE | {"status": 503}).encode()).counted
    assert set(watched(503, problem()[1], b"{}").counted) == {"5xx"}


@pytest.mark.parametrize("form", sorted(forms_of(SECRET)))
def test_a_secret_is_found_however_it_is_written(form: bytes):
    assert set(watched(200, {**FRAME, "content-type": "text/csv"}, b"a;" + form + b";b").counted) == {
        "a secret in an answer"
    }


def test_a_secret_is_found_in_a_header():
    told = base64.b64encode(SECRET).decode()
    assert set(watched(*json_answer({}, **{"x-debug": told})).counted) == {"a secret in an answer"}


@pytest.mark.parametrize(
    "told",
    [
        "Traceback (most recent call last)",
        'File "/srv/app.py", line 3',
        f"{Path.home()}/station/keys",
        "sqlite3.OperationalError",
        "at 0x7f object at 0x7f3a",
    ],
    ids=["traceback", "line", "place", "driver", "object"],
)
def test_a_trace_or_a_place_is_found_unless_the_caller_wrote_it_itself(told: str):
    rule = "a trace or a place in an answer"
    assert set(watched(*problem(detail=told)).counted) <= {rule, "a problem without a detail"}
    assert watched(*problem(detail=told)).counted[rule] == 1
    assert not watched(*problem(detail=told), sent=json.dumps(told).encode() + told.encode()).counted


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ((500, FRAME, b""), "5xx"),
        ((404, {**FRAME, "content-type": "text/plain"}, b"no"), "a failure that is no problem document"),
        (problem(type="about:blank"), "a problem type that docs/api.md does not list"),
        (
            (409, problem()[1], json.dumps(FAILURE | {"status": 409}).encode()),
            "a problem type with a status that docs/api.md does not list for it",
        ),
        ((307, {**FRAME, "location": "http://evil.example/v1/x"}, b""), "a Location that names a host"),
        (problem(status=400), "a problem document of another status"),
        (problem(detail=""), "a problem without a detail"),
        ((404, problem()[1], b"{}"), "a problem document without its members"),
        ((200, {**FRAME, "content-type": "application/json"}, b'{"a": NaN}'), "not strict JSON"),
        ((200, {}, b""), "no X-Request-Id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_broken_rule_is_found(answer: tuple[int, dict[str, str], bytes], rule: str):
    assert set(watched(*answer).counted) == {rule}


def test_what_leaves_the_application_as_an_exception_is_found():
    class Raises(Told):
        async def __call__(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
            raise LookupError("lost")

    watch = Watch(Raises(200, {}, b""), [], PROBLEMS)
    asyncio.run(asked(watch, Attempt("right", "", None, "GET", "/v1/x", "", (), ()), None, 0))

    assert watch.counted["the application raised"] == 1
    assert watch.findings[0].told == "LookupError: lost"
