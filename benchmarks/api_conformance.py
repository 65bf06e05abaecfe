"""schemathesis against the service over a socket, once for every role: every check, every operation, stateful links too.

Two of its expectations are widened, because no schema can say them: a request of the documented shape may be refused for a
day without readings or a text that means nothing (422), or be more than one may have (406, 413, 429).
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import schemathesis
import uvicorn
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.api_asked import address_of
from benchmarks.api_watch import Finding

# Stands for a token in what schemathesis sends: its requests revoke tokens, their own too.
STANDS_FOR_A_TOKEN = b"Bearer of-this-caller"
ACCEPTED = ["2xx", "3xx", "401", "403", "404", "406", "409", "412", "413", "422", "429", "503"]
REJECTED = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "503"]


class Newcomers:
    """The application, to which every request comes from an address of its own, with a new token where one is meant to be.

    Refused tokens, which some checks send, count against their address, and would shut the door to all that follow.
    """

    def __init__(self, app: ASGIApp, token: Callable[[int], str]) -> None:
        self.app = app
        self._token = token
        self._numbers = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            number = next(self._numbers)
            headers = [(name, self._put(value, number)) for name, value in scope["headers"]]
            scope = {**scope, "headers": headers, "client": (address_of(number), 4711)}
        await self.app(scope, receive, send)

    def _put(self, value: bytes, number: int) -> bytes:
        return f"Bearer {self._token(number)}".encode() if value == STANDS_FOR_A_TOKEN else value


@contextlib.contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The address of the application on a socket of its own, as `gridward serve` runs it, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, proxy_headers=False, http="httptools"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    try:
        yield "http://{}:{}".format(*listener.getsockname())
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


def conformance(openapi: dict[str, Any], address: str, examples: int, seed: int, *, known: bool) -> list[Finding]:
    """What every check of schemathesis finds, as one caller. examples: requests an operation and phase may take; known:
    whether the caller has a token (`Newcomers`).
    """
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": address,
            "headers": {"Authorization": STANDS_FOR_A_TOKEN.decode()} if known else {},
            "workers": 1,
            "continue-on-failure": True,
            "suppress-health-check": ["all"],
            "request-timeout": 30,
            "max-stream-events": 2,
            "cache": {"enabled": False},
            # The caller's own token stands in `headers`: one that is made up beside it would stop every request at the door.
            "generation": {
                "max-examples": examples,
                "no-shrink": True,
                "database": "none",
                "with-security-parameters": False,
            },
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ACCEPTED},
                "negative_data_rejection": {"expected-statuses": REJECTED},
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
            },
        }
    )
    found: dict[tuple[str, str, str], Finding] = {}
    for event in from_schema(schemathesis.openapi.from_dict(openapi, config=config)).execute():
        if isinstance(event, events.ScenarioFinished):
            for finding in _failures(event):
                found.setdefault((finding.rule, finding.route, finding.told[:60]), finding)
        elif isinstance(event, (events.NonFatalError, events.FatalError)):
            told = str(getattr(event, "value", None) or getattr(event, "exception", event))
            found[("error", str(event), told[:60])] = Finding("schemathesis could not go on", "", 0, told[:300], "")
    return list(found.values())


def _failures(event: events.ScenarioFinished) -> Iterator[Finding]:
    recorder = event.recorder
    for case_id, checks in recorder.checks.items():
        for check in checks:
            failure = check.failure_info.failure if check.failure_info else None
            if failure is None:
                continue
            interaction = recorder.interactions.get(case_id)
            answer = interaction.response if interaction else None
            request = interaction.request if interaction else None
            shown = f"{request.method} {request.uri} {(request.body or b'')[:160]!r}" if request else case_id
            told = f"{failure.title}: {failure.message}"[:300]
            yield Finding(f"schemathesis {check.name}", recorder.label, answer.status_code if answer else 0, told, shown)
