"""OpenTelemetry spans, one a request, for stations that set GRIDWARD_TRACES_URL and installed the extra `tracing`.

A span names the route's template, method, status and request id, and nothing of the question or the caller. A caller's
`traceparent` is not believed: a request begins its own trace, so that nobody outside decides what is sampled or joined.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from security.errors import UnavailableError

_MISSING = "pip install 'gridward[tracing]'"


class Span(Protocol):
    """What the request frame says of a request."""

    def set_attribute(self, key: str, value: Any) -> None:
        """Say one thing of it."""


class _NoSpan:
    def set_attribute(self, key: str, value: Any) -> None:
        """Nobody asks."""


class Tracing:
    """Spans to `traces_url` (OTLP over HTTP), or none with an empty one. Raises UnavailableError without the extra."""

    def __init__(self, traces_url: str = "") -> None:
        self._provider = _provider(traces_url) if traces_url else None
        self._tracer = self._provider.get_tracer("gridward") if self._provider else None

    @contextmanager
    def span(self, name: str) -> Iterator[Span]:
        """One request."""
        if self._tracer is None:
            yield _NoSpan()
            return
        with self._tracer.start_as_current_span(name) as span:
            yield span

    def close(self) -> None:
        """Send what waits."""
        if self._provider is not None:
            self._provider.shutdown()


def _provider(traces_url: str) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 (an extra)
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise UnavailableError(
            "traces are asked for and not installed", where="GRIDWARD_TRACES_URL", mend=_MISSING
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": "gridward"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=traces_url)))
    return provider
