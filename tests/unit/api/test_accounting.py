from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import anyio
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.accounting import Accounting, network_of
from pipeline.database import SERVICE_PATIENCE_SECONDS
from security.audit_writer import Act
from security.errors import UnavailableError
from security.identity import Identity, Role
from security.memory_state import MemoryState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN = Identity("ann", Role.ANALYST, "t-1", NOW)


class KeptActs:
    """An audit log in memory, which can be made to fail."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.waited: list[float] = []
        self.fails = False

    async def write(self, act: Act, patience_seconds: float) -> int:
        self.waited.append(patience_seconds)
        if self.fails:
            raise UnavailableError("no database")
        self.acts.append(act)
        return len(self.acts)


def answering(status: int, *parts: bytes, kind: str = "application/json") -> ASGIApp:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        headers = [(b"content-type", kind.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, part in enumerate(parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})

    return app


def scope(path: str = "/v1/models", identity: Identity | None = ANN, **account: object) -> Scope:
    state = {"request_id": "r1", "identity": identity, "account": account}
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"a=1",
        "client": ("198.51.100.7", 1),
        "state": state,
        "headers": [],
    }


def play(app: ASGIApp, log: KeptActs, asked: Scope, body: bytes = b"{}") -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        sent.append({**message, "entries": len(log.acts)})

    async def run() -> None:
        await Accounting(app, log, MemoryState(), lambda: NOW)(asked, receive, send)  # type: ignore[arg-type]  # a stand-in

    anyio.run(run)
    return sent


def test_an_answer_leaves_after_its_entry_and_not_before() -> None:
    log = KeptActs()

    sent = play(answering(200, b"one", b"two"), log, scope())

    assert [message["entries"] for message in sent] == [1, 1, 1]
    assert b"".join(message.get("body", b"") for message in sent) == b"onetwo"


def test_an_entry_names_the_caller_and_digests_of_question_and_answer() -> None:
    log = KeptActs()

    play(answering(200, b"one", b"two"), log, scope(action="forecast.served", subject="f-1", model="m"), b"asked")

    [act] = log.acts
    assert (act.actor, act.action, act.subject, act.at) == ("ann", "forecast.served", "f-1", NOW)
    assert act.details["answer_sha256"] == hashlib.sha256(b"onetwo").hexdigest()
    assert act.details["asked_sha256"] == hashlib.sha256(b"POST /v1/models a=1 asked").hexdigest()
    assert (act.details["model"], act.details["token_id"], act.details["status"]) == ("m", "t-1", 200)
    assert "198.51.100.7" not in json.dumps(dict(act.details))


def test_an_answer_that_cannot_be_entered_is_not_given() -> None:
    log = KeptActs()
    log.fails = True

    sent = play(answering(200, b"a forecast"), log, scope())

    assert sent[0]["status"] == 503
    assert (b"retry-after", b"5") in sent[0]["headers"]
    assert b"a forecast" not in b"".join(message.get("body", b"") for message in sent)


def test_the_entry_of_a_store_that_was_waited_for_is_not_waited_for_as_long_again() -> None:
    log = KeptActs()
    for status in (200, 503):
        play(answering(status, b"{}"), log, scope())
    usual, away = log.waited
    assert away < 2.0 - SERVICE_PATIENCE_SECONDS - 0.3 < usual < 2.0


def test_a_stream_is_entered_when_it_begins_and_then_passes() -> None:
    log = KeptActs()

    sent = play(answering(200, b"data: 1\n\n", b"data: 2\n\n", kind="text/event-stream"), log, scope())

    assert [message["entries"] for message in sent] == [1, 1, 1]
    assert log.acts[0].details["answer_sha256"] == "stream"


def test_a_stream_that_cannot_be_entered_does_not_begin() -> None:
    log = KeptActs()
    log.fails = True

    sent = play(answering(200, b"data: 1\n\n", b"data: 2\n\n", kind="text/event-stream"), log, scope())

    assert sent[0]["status"] == 503
    assert b"data" not in b"".join(message.get("body", b"") for message in sent)


def test_facts_that_cannot_be_entered_do_not_hide_the_request() -> None:
    log = KeptActs()

    async def broken(asked: Scope, *_: object) -> None:
        asked["state"]["account"]["nan"] = float("nan")
        raise ValueError("NaN is no JSON")

    with pytest.raises(ValueError, match="NaN"):
        play(broken, log, scope())

    assert "nan" not in log.acts[0].details


def test_an_unexpected_error_is_entered_and_goes_on_to_the_frame() -> None:
    log = KeptActs()

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        play(broken, log, scope())

    assert log.acts[0].details["status"] == 500


def test_of_a_flood_one_refusal_a_minute_is_entered() -> None:
    log = KeptActs()

    async def run() -> None:
        accounting = Accounting(answering(429, b"{}"), log, MemoryState(), lambda: NOW)  # type: ignore[arg-type]  # a stand-in
        for identity in (ANN, ANN, None, None):
            await accounting(scope(identity=identity), receive, send)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(_message: Message) -> None:
        """Nobody listens."""

    anyio.run(run)

    assert [act.actor for act in log.acts] == ["ann", "unknown"]


def test_who_is_not_admitted_is_entered_by_network_and_action() -> None:
    log = KeptActs()

    play(answering(401, b"{}"), log, scope(identity=None, action="access.denied", why="expired"))

    [act] = log.acts
    assert (act.actor, act.action, act.subject) == ("unknown", "access.denied", "POST /v1/models")
    assert (act.details["network"], act.details["why"]) == ("198.51.100.0/24", "expired")


def test_a_path_of_no_route_is_entered_shortened() -> None:
    log = KeptActs()

    play(answering(404, b"{}"), log, scope(path="/v1/" + "x" * 5000))

    assert len(log.acts[0].subject) < 200


def test_what_is_not_of_v1_is_not_entered() -> None:
    log = KeptActs()

    play(answering(200, b"alive"), log, scope(path="/healthz"))

    assert log.acts == []


@pytest.mark.parametrize(
    ("client", "network"),
    [
        (("198.51.100.7", 1), "198.51.100.0/24"),
        (("2001:db8:1:2:3::4", 1), "2001:db8:1::/48"),
        (("a unix socket", 1), "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_is_shortened_to_its_network(client: tuple[str, int] | None, network: str) -> None:
    assert network_of({"type": "http", "client": client}) == network


def test_of_strangers_whom_no_route_answers_one_refusal_a_minute_is_entered() -> None:
    log = KeptActs()

    async def run() -> None:
        accounting = Accounting(answering(404, b"{}"), log, MemoryState(), lambda: NOW)  # type: ignore[arg-type]  # a stand-in
        for identity in (None, None, None, ANN, ANN):
            await accounting(scope(identity=identity), receive, send)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(_message: Message) -> None:
        """Nobody listens."""

    anyio.run(run)

    assert [act.actor for act in log.acts] == ["unknown", "ann", "ann"]
