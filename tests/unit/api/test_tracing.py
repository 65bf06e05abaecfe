from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from api.tracing import Tracing
from security.errors import UnavailableError


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A server that takes spans as an OpenTelemetry collector does, and what it was sent."""
    sent: list[bytes] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Taker)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", sent
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_span_reaches_the_collector_when_the_service_closes(collector: tuple[str, list[bytes]]) -> None:
    url, sent = collector
    tracing = Tracing(url)

    with tracing.span("request") as span:
        span.set_attribute("http.route", "/v1/forecasts")
    tracing.close()

    assert b"/v1/forecasts" in b"".join(sent)


def test_without_an_address_nothing_is_traced_and_nothing_imported() -> None:
    tracing = Tracing()

    with tracing.span("request") as span:
        span.set_attribute("http.route", "/x")
    tracing.close()

    assert type(span).__module__ == "api.tracing"


def test_a_missing_extra_is_told_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    with pytest.raises(UnavailableError, match=r"gridward\[tracing\]"):
        Tracing("http://127.0.0.1:9/v1/traces")
