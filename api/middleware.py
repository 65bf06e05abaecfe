"""Around every request, before any route is looked at: a bounded body, an id, safe headers, a log line, a last resort."""

from __future__ import annotations

import logging
import time
import uuid
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.error_responses import HTTP, problem

BODY_LIMIT_BYTES = 64 * 1024

_LOG = logging.getLogger("gridward.api")
_TOO_LARGE = f"the body is larger than {BODY_LIMIT_BYTES} bytes"
_SAFE_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class BodyLimit:
    """Refuse a body above 64 KiB: by its announced length before a byte is read, else once it runs over (AML.T0029)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or len(announced) > 9 or int(announced) > BODY_LIMIT_BYTES:
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTP, _TOO_LARGE)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_LIMIT_BYTES:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
            return message

        await self.app(scope, counted, send)


class RequestFrame:
    """Give each answer its X-Request-Id and safe headers, log it, and turn what nobody caught into a bare 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, started_at, status = uuid.uuid4().hex, time.perf_counter(), 0
        state = scope.setdefault("state", {})
        state["request_id"] = request_id

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update({"X-Request-Id": request_id, **_SAFE_HEADERS})
            await send(message)

        try:
            await self.app(scope, receive, framed)
        except Exception:
            _LOG.exception("request failed unexpectedly", extra={"fields": {"request_id": request_id}})
            if not status:
                detail = f"unexpected error; the log tells more under request id {request_id}"
                await problem(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected", detail)(scope, receive, framed)
        identity = state.get("identity")
        fields = {
            "request_id": request_id,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "milliseconds": round((time.perf_counter() - started_at) * 1000, 1),
            "subject": identity.subject if identity else None,
        }
        _LOG.info("request", extra={"fields": fields})
