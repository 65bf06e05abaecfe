"""Every request of /v1 and its answer stand in the audit log before the answer leaves.

The answer is held back until its entry is committed: what a client was told can be shown to have been told. Where the
log cannot be written, the client hears 503 and not the answer. A stream of events is entered when it begins.

An entry holds who, which route, digests of question and answer, the status, and what the route adds (`account`): no
body, no header, no token. Addresses are shortened to their network: /24, for IPv6 /48. Of callers over their budget,
and of strangers whom no route answers, one refusal of a kind is entered a minute: a flood must not fill the log (AML.T0029,
AML.T0046).
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.error_responses import UNAVAILABLE_RETRY_SECONDS, problem
from api.middleware import NO_ROUTE, route_of
from pipeline.serving import Clock
from security.audit_writer import WAIT_SECONDS, Act, AuditWriter
from security.errors import UnavailableError
from security.shared_state import PutIfAbsent, SharedState

ACCOUNTED = "/v1/"
ANSWERED, DENIED, REFUSED = "request.answered", "access.denied", "request.refused"
UNKNOWN = "unknown"
_AWAY_SECONDS = 0.25
_FLOOD_SECONDS = 60
_UNGUARDED = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_LONGEST_SHOWN = 80
_LOG = structlog.get_logger("gridward.audit")


class Accounting:
    """Hold back each answer of /v1 until the audit log has it."""

    def __init__(self, app: ASGIApp, writer: AuditWriter, state: SharedState, clock: Clock) -> None:
        self.app = app
        self._writer = writer
        self._state = state
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["path"].startswith(ACCOUNTED):
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(self._entered, scope, receive, send)
        try:
            await self.app(scope, exchange.heard, exchange.hold)
        except Exception:
            # The frame around answers it with a bare 500, which stands in the log as well; what the route added may be why.
            scope["state"]["account"] = {}
            await self._entered(scope, HTTPStatus.INTERNAL_SERVER_ERROR, exchange.question.hexdigest(), "")
            raise

    async def _entered(self, scope: Scope, status: int, question: str, answer: str) -> bool:
        state = scope["state"]
        try:
            if _may_flood(scope, status) and not await self._first_of_a_flood(scope, status):
                return True
            # A store that is away was waited for already, and both waits together stay below two seconds.
            patience = _AWAY_SECONDS if status == HTTPStatus.SERVICE_UNAVAILABLE else WAIT_SECONDS
            await self._writer.write(self._act(scope, status, question, answer), patience)
        except UnavailableError as error:
            _LOG.error("an answer was not given: it could not be entered", request_id=state["request_id"], why=str(error))
            return False
        return True

    async def _first_of_a_flood(self, scope: Scope, status: int) -> bool:
        identity = scope["state"].get("identity")
        who = f"subject {identity.subject}" if identity else f"address {network_of(scope)}"
        [standing] = await self._state.apply(PutIfAbsent(f"flood:{status}:{who}", b"1", _FLOOD_SECONDS))
        return standing is None

    def _act(self, scope: Scope, status: int, question: str, answer: str) -> Act:
        state = scope["state"]
        identity, told = state.get("identity"), dict(state.get("account", {}))
        action = told.pop("action", None) or (ANSWERED if status < HTTPStatus.BAD_REQUEST else REFUSED)
        subject = told.pop("subject", None) or _subject_of(scope)
        details: dict[str, Any] = {
            "request": state["request_id"],
            "route": f"{scope['method'][:_LONGEST_SHOWN]} {route_of(scope)}",
            "status": status,
            "asked_sha256": question,
            "answer_sha256": answer,
            **told,
        }
        if identity:
            details["token_id"] = identity.token_id
        else:
            details["network"] = network_of(scope)
        return Act(identity.subject if identity else UNKNOWN, action, subject, details, self._clock())


class _Exchange:
    """One question and its answer: digested as they pass, the answer kept until it is entered."""

    def __init__(
        self, entered: Callable[[Scope, int, str, str], Awaitable[bool]], scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.question, self._answer = hashlib.sha256(_asked(scope)), hashlib.sha256()
        self._entered, self._scope, self._receive, self._send = entered, scope, receive, send
        self._held: list[Message] = []
        self._streams: bool | None = None

    async def heard(self) -> Message:
        """The next part of the question; a stream that was not allowed to begin hears that its reader is gone."""
        if self._streams is False:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self.question.update(message.get("body", b""))
        return message

    async def hold(self, message: Message) -> None:
        """Keep a part of the answer, and give all of it once the last has come and it is entered."""
        if message["type"] == "http.response.start" and _is_stream(message):
            self._streams = await self._enter(message["status"], "stream")
        if self._streams is not None:
            if self._streams:
                await self._send(message)
            return
        self._held.append(message)
        self._answer.update(message.get("body", b""))
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and await self._enter(self._held[0]["status"], self._answer.hexdigest()):
            for one in self._held:
                await self._send(one)

    async def _enter(self, status: int, answer: str) -> bool:
        """Whether it stands in the log; the caller of one that does not is told so in its place."""
        entered = await self._entered(self._scope, status, self.question.hexdigest(), answer)
        if not entered:
            await _unavailable()(self._scope, self._receive, self._send)
        return entered


def network_of(scope: Scope) -> str:
    """The network a request came from, /24 or /48: enough to see an attack, too little to name a person."""
    client = scope.get("client")
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return UNKNOWN
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


def _may_flood(scope: Scope, status: int) -> bool:
    """Whether no gate bounds how often this can be answered: over the budget, or of nobody's by no route."""
    return status == HTTPStatus.TOO_MANY_REQUESTS or (scope["state"].get("identity") is None and status in _UNGUARDED)


def _asked(scope: Scope) -> bytes:
    return b" ".join((scope["method"].encode(), scope["path"].encode(), scope.get("query_string", b""), b""))


def _subject_of(scope: Scope) -> str:
    """The route, or the beginning of a path that no route has: it is the caller's text, and stands in JSON."""
    template = route_of(scope)
    shown = scope["path"][:_LONGEST_SHOWN] if template == NO_ROUTE else template
    return f"{scope['method'][:_LONGEST_SHOWN]} {shown}"


def _is_stream(message: Message) -> bool:
    return Headers(raw=message["headers"]).get("content-type", "").startswith("text/event-stream")


def _unavailable() -> ASGIApp:
    detail = "the audit log could not be written, so the answer is not given — try again"
    headers = {"Retry-After": str(UNAVAILABLE_RETRY_SECONDS)}
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, headers=headers)
