"""What looks at every answer of the service while it is fuzzed: an ASGI application around the real one.

Judged are: the status (5xx; 503 with Retry-After is a gate that closed, and counted apart), the problem document (a type
that docs/api.md lists, its own status in it), strict JSON, X-Request-Id, and what must never leave: tracebacks, places of
this machine, secrets. A place or a trace that the caller wrote itself is an echo, not a leak; a secret never is an echo.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PROBLEM = "application/problem+json"
PROBLEM_TYPE = "urn:gridward:problem:"
KEPT_OF_A_KIND = 3
BODY_SHOWN = 160

# The folders of whatever machine this runs on: the checkout, its Python, the user's own, the temporary one.
_FOLDERS = (Path(__file__).parents[1].resolve(), Path(sys.prefix), Path.home(), Path(tempfile.gettempdir()))
_OWN_FOLDERS = b"|".join(re.escape(f"{folder}/".encode()) for folder in _FOLDERS if folder != Path("/"))
_TELLTALES = re.compile(
    rb"Traceback \(most recent|File \"[^\"]+\", line \d|site-packages|/usr/lib/|\.py:\d+|"
    + _OWN_FOLDERS
    + rb"|object at 0x[0-9a-f]+|BEGIN [A-Z ]*PRIVATE KEY|sqlalche\.me|sqlite3\.|psycopg|pg8000|redis://|postgresql(?:\+\w+)?://"
    rb"|\bSELECT .{1,80} FROM\b|INSERT INTO"
)


# Documented types of problems, with the statuses they come with.
Problems = Mapping[str, frozenset[int]]


@dataclass(frozen=True)
class Finding:
    """One answer that breaks a rule, and the request it was given to, short enough to try again."""

    rule: str
    route: str
    status: int
    told: str
    request: str


@dataclass
class Exchange:
    """A request as the application received it, and what it answered."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    sent: bytearray = field(default_factory=bytearray)
    status: int = 0
    answer_headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)

    @property
    def request_id(self) -> str:
        """The id under which the log tells more; empty for none."""
        return self.answer_headers.get("x-request-id", "")

    def shown(self) -> str:
        """The request in one line, for a report."""
        said = {name.decode("latin-1"): value.decode("latin-1")[:60] for name, value in self.headers}
        said.pop("authorization", None)
        return f"{self.method} {self.target} {said} {bytes(self.sent[:BODY_SHOWN])!r}"


class Watch:
    """The service under watch. secrets: what no answer may hold; problems: the documented types."""

    def __init__(self, app: ASGIApp, secrets: Iterable[bytes], problems: Problems) -> None:
        self.app = app
        self.problems = problems
        self.statuses: Counter[int] = Counter()
        self.routes: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()
        self.findings: list[Finding] = []
        # Request ids that must stand in the audit log, with what was asked.
        self.to_account: dict[str, str] = {}
        needles = sorted({form for secret in secrets for form in forms_of(secret)})
        self._secrets = re.compile(b"|".join(re.escape(needle) for needle in needles)) if needles else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on and judge its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        query = scope.get("query_string", b"").decode("latin-1")
        seen = Exchange(scope["method"], scope["path"] + (f"?{query}" if query else ""), list(scope["headers"]))

        async def received() -> Message:
            message = await receive()
            seen.sent += message.get("body", b"")
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                seen.answer_headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]
                }
            seen.body += message.get("body", b"")
            await send(message)

        fault = ""
        try:
            await self.app(scope, received, sent)
        except asyncio.CancelledError:
            fault = "" if seen.status else "cut off before it answered"
            raise
        except Exception as error:  # whatever leaves the application is a finding
            fault = f"{type(error).__name__}: {error}"
        finally:
            route = getattr(scope.get("route"), "path", None)
            self.judge(seen, f"{scope['method']} {route}" if route else "no route", fault)

    def judge(self, seen: Exchange, route: str, fault: str = "") -> None:
        """Enter every rule that this answer breaks."""
        self.statuses[seen.status] += 1
        self.routes[route] += 1
        if fault:
            self._find("the application raised", seen, route, fault)
        if "://" in seen.answer_headers.get("location", ""):
            # The host in it is what the caller called us: a link that leads wherever somebody wants.
            self._find("a Location that names a host", seen, route, seen.answer_headers["location"])
        for rule, told in [*_broken_rules(seen, self.problems), *self._leaks(seen)]:
            self._find(rule, seen, route, told)
        if not seen.request_id:
            self._find("no X-Request-Id", seen, route, "")
        elif seen.target.startswith("/v1/"):
            self.to_account[seen.request_id] = f"{seen.status} {seen.shown()}"

    def holds_secret(self, text: bytes) -> bool:
        """Whether one of the secrets stands in `text`."""
        return bool(self._secrets and self._secrets.search(text))

    def _leaks(self, seen: Exchange) -> list[tuple[str, str]]:
        told = b"\n".join(f"{name}: {value}".encode() for name, value in seen.answer_headers.items()) + b"\n" + seen.body
        found = [("a secret in an answer", "")] if self.holds_secret(told) else []
        asked = _plain(seen.target.encode() + b"\n".join(value for _, value in seen.headers) + bytes(seen.sent))
        for telltale in {match.group() for match in _TELLTALES.finditer(_plain(told))}:
            if telltale not in asked:
                found.append(("a trace or a place in an answer", telltale.decode("latin-1")))
        return found

    def _find(self, rule: str, seen: Exchange, route: str, told: str) -> None:
        self.counted[rule] += 1
        alike = [finding for finding in self.findings if (finding.rule, finding.route) == (rule, route)]
        if len(alike) < KEPT_OF_A_KIND:
            said = told or bytes(seen.body[:BODY_SHOWN]).decode("latin-1")
            self.findings.append(Finding(rule, route, seen.status, said, seen.shown()))


def forms_of(secret: bytes) -> set[bytes]:
    """A secret as it may be written: itself, hexadecimal, base64 of both alphabets without padding."""
    base = base64.b64encode(secret).rstrip(b"=")
    return {secret, secret.hex().encode(), base, base.replace(b"+", b"-").replace(b"/", b"_")}


def _plain(text: bytes) -> bytes:
    """Quotes as they were before somebody wrote them in JSON."""
    return text.replace(b'\\"', b'"')


def _broken_rules(seen: Exchange, problems: Problems) -> list[tuple[str, str]]:
    """Rules of status and shape."""
    kind = seen.answer_headers.get("content-type", "").partition(";")[0]
    if seen.status >= 500 and not (seen.status == 503 and "retry-after" in seen.answer_headers):
        return [("5xx", "")]
    if seen.method == "HEAD" or not seen.status:
        return []
    if seen.status >= 400 and kind != PROBLEM:
        return [("a failure that is no problem document", kind)]
    if kind not in (PROBLEM, "application/json"):
        return []
    try:
        content = json.loads(bytes(seen.body), parse_constant=_refuse_constant)
    except ValueError as error:
        return [("not strict JSON", str(error))]
    return _broken_problem(seen.status, content, problems) if kind == PROBLEM else []


def _broken_problem(status: int, content: Any, problems: Problems) -> list[tuple[str, str]]:
    if not isinstance(content, dict) or not {"type", "title", "status", "detail"} <= content.keys():
        return [("a problem document without its members", "")]
    broken = []
    if content["type"] not in problems:
        broken.append(("a problem type that docs/api.md does not list", str(content["type"])))
    elif status not in problems[content["type"]]:
        broken.append(("a problem type with a status that docs/api.md does not list for it", f"{content['type']} {status}"))
    if content["status"] != status:
        broken.append(("a problem document of another status", str(content["status"])))
    if not content["detail"] or not isinstance(content["detail"], str):
        broken.append(("a problem without a detail", ""))
    return broken


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def documented_problems(api_document: str) -> Problems:
    """The problem types that docs/api.md lists, and their statuses."""
    rows = re.findall(rf"^\| `({PROBLEM_TYPE}\S+)` \| ([\d, ]+) \|", api_document, re.MULTILINE)
    return {kind: frozenset(map(int, statuses.split(","))) for kind, statuses in rows}
