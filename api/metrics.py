"""What Prometheus asks: how many requests of which route ended how, how long they took, and what the gates refused.

Labels are route templates, methods, status codes and gate names: never a subject, an address or a path as it was sent
(AML.T0029: a caller must not be able to make labels). With several workers each writes to files in the folder of
PROMETHEUS_MULTIPROC_DIR, and any of them answers for all.
"""

from __future__ import annotations

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST
MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5, 2.0, 10.0)


class Metrics:
    """Counters of one service; two services in one process count apart."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "gridward_requests", "Requests answered", ["route", "method", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "gridward_request_seconds", "From request to answer", ["route"], buckets=_SECONDS, registry=self._registry
        )
        self._refused = Counter(
            "gridward_refused", "Requests that a gate refused, by the problem's type", ["problem"], registry=self._registry
        )
        self._guarded = Counter(
            "gridward_guard_level", "Questions answered at each level of the query guard", ["level"], registry=self._registry
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer. route: its template."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, problem: str) -> None:
        """Count one refusal by its problem's type."""
        self._refused.labels(problem).inc()

    def guarded(self, level: str) -> None:
        """Count one question by the query guard's level."""
        self._guarded.labels(level).inc()

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format, of all workers together."""
        if not os.environ.get(MULTIPROCESS_FOLDER):
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
        return generate_latest(together)
