"""Around every request, before any route is looked at: a bounded body, an id, safe headers, a log line, a last resort."""

from __future__ import annotations

import random
import time
from http import HTTPStatus
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.error_responses import HTTP, problem
from api.metrics import Metrics
from api.tracing import Tracing

BODY_LIMIT_BYTES = 64 * 1024
# The label of what no route answers to: paths as they were sent would make labels without end.
NO_ROUTE = "none"

# A name and no secret: asking the operating system each time costs more than the rest of the frame.
_IDS = random.Random(random.SystemRandom().getrandbits(256))  # noqa: S311 (nothing rests on its being hard to guess)
_LOG = structlog.get_logger("gridward.api")
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
        received, answering = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_LIMIT_BYTES:
                if answering:
                    # Too late for a 413: whoever reads on while a stream is answered hears that the caller is gone.
                    return {"type": "http.disconnect"}
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
            return message

        async def watched(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        await self.app(scope, counted, watched)


class RequestFrame:
    """Give each answer its X-Request-Id and safe headers, log and count it, and turn what nobody caught into a bare 500."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing) -> None:
        self.app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started_at = time.perf_counter()
        state = scope.setdefault("state", {})
        state["request_id"] = f"{_IDS.getrandbits(128):032x}"
        with self._tracing.span("request") as span:
            status = await self._answered(scope, receive, send)
            seconds, route = time.perf_counter() - started_at, route_of(scope)
            span.set_attribute("http.route", route)
            span.set_attribute("http.request.method", scope["method"])
            span.set_attribute("http.response.status_code", status)
            span.set_attribute("gridward.request_id", state["request_id"])
        self._metrics.request(route, _known_method(scope["method"]), status, seconds)
        identity = state.get("identity")
        _LOG.info(
            "request",
            logger="gridward.api",
            request_id=state["request_id"],
            method=scope["method"],
            path=scope["path"],
            status=status,
            milliseconds=round(seconds * 1000, 1),
            subject=identity.subject if identity else None,
        )

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Pass the request on; answers the status that was sent."""
        status, request_id = 0, scope["state"]["request_id"]

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in _SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, framed)
        except Exception:
            _LOG.exception("request failed unexpectedly", logger="gridward.api", request_id=request_id)
            if not status:
                detail = f"unexpected error; the log tells more under request id {request_id}"
                await problem(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected", detail)(scope, receive, framed)
        return status


def route_of(scope: Scope) -> str:
    """The template of the route that answers, as `/v1/jobs/{job_id}`; `none` before one was found."""
    route: Any = scope.get("route")
    return getattr(route, "path", NO_ROUTE)


def _known_method(method: str) -> str:
    return method if method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"} else "other"
