from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import anyio
import pytest
import structlog
from starlette.types import Message, Receive, Scope, Send

from api.logs import log_to_stderr
from api.metrics import Metrics
from api.middleware import BodyLimit, RequestFrame
from api.tracing import Tracing
from tests.unit.api.small_station import LAST_DAY, Service


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [("GET", "/healthz", None), ("GET", "/v1/models", "analyst"), ("GET", "/v1/models", None), ("GET", "/x", None)],
)
def test_every_answer_carries_a_request_id_and_safe_headers(
    shared: Service, method: str, path: str, role: str | None
) -> None:
    headers = shared.ask(method, path, role=role).headers

    assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_two_requests_have_two_ids_whatever_the_caller_sends(shared: Service) -> None:
    ids = {shared.ask("GET", "/healthz", headers={"X-Request-Id": "mine"}).headers["x-request-id"] for _ in range(2)}

    assert len(ids) == 2
    assert "mine" not in ids


def test_an_unexpected_error_tells_the_caller_its_id_and_the_log_the_rest(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("inner secret /srv/place")

    monkeypatch.setattr(service.serving, "providers", broken)

    with structlog.testing.capture_logs() as lines:
        answer = service.ask("GET", "/v1/providers", role="analyst")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["detail"]
    failure = next(line for line in lines if line.get("exc_info"))
    assert failure["request_id"] == answer.headers["x-request-id"]


def test_an_error_after_the_answer_began_does_not_begin_a_second_one() -> None:
    sent: list[Message] = []

    async def half_an_answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise OSError("cable pulled")

    async def nothing() -> Message:
        return {"type": "http.request"}

    async def keep(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        await RequestFrame(half_an_answer, Metrics(), Tracing())(
            {"type": "http", "method": "GET", "path": "/"}, nothing, keep
        )

    anyio.run(run)

    assert [message["type"] for message in sent] == ["http.response.start"]


def test_what_is_no_request_passes_untouched() -> None:
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: object) -> Message:
        return {}

    async def run() -> None:
        await RequestFrame(BodyLimit(app), Metrics(), Tracing())({"type": "lifespan"}, nothing, nothing)  # type: ignore[arg-type]  # never called

    anyio.run(run)

    assert seen == ["lifespan"]


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What the service logs, as it would stand on stderr."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    # force=True closes what it replaces; pytest's own handlers are kept aside.
    root.handlers.clear()
    log_to_stderr(logging.DEBUG, stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_request_is_logged_as_one_json_line_without_token_or_body(shared: Service, logged: io.StringIO) -> None:
    token = shared.token("analyst", "ann")

    shared.ask("POST", "/v1/forecasts?note=hidden", token=token, json={"day": str(LAST_DAY)})

    lines = logged.getvalue().splitlines()
    [line] = [fields for fields in map(json.loads, lines) if fields["event"] == "request"]
    assert (line["method"], line["path"], line["status"], line["subject"]) == ("POST", "/v1/forecasts", 200, "ann")
    assert (line["level"], line["logger"]) == ("info", "gridward.api")
    assert not any(part in text for text in lines for part in (token, token.rpartition(".")[2], str(LAST_DAY)))


def test_a_path_cannot_forge_a_second_log_line(shared: Service, logged: io.StringIO) -> None:
    shared.ask("GET", '/x%0a{"event": "granted"}')

    assert [json.loads(line)["event"] for line in logged.getvalue().splitlines()].count("granted") == 0


def test_an_exception_is_logged_with_its_trace_in_the_same_line(logged: io.StringIO) -> None:
    for logger in (structlog.get_logger("ours"), logging.getLogger("theirs")):
        try:
            raise KeyError("x")
        except KeyError:
            logger.exception("failed")

    ours, theirs = (json.loads(line) for line in logged.getvalue().splitlines())
    assert "KeyError" in ours["traceback"]
    assert "KeyError" in theirs["traceback"]


def test_logs_of_others_go_to_the_same_place_in_the_same_form(logged: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").info("hello")

    [line] = map(json.loads, logged.getvalue().splitlines())
    assert (line["event"], line["logger"], line["level"]) == ("hello", "uvicorn.error", "info")
    assert line["at"].endswith("Z")


def test_what_a_record_of_another_room_carries_stands_in_its_line(logged: io.StringIO) -> None:
    logging.getLogger("gridward.jobs").warning("a job failed", extra={"fields": {"job": "j-1"}})

    assert json.loads(logged.getvalue())["fields"] == {"job": "j-1"}
