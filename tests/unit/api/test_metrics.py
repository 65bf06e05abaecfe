from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from api.metrics import Metrics
from tests.unit.api.small_station import Service


def test_requests_are_counted_by_template_method_and_status() -> None:
    metrics = Metrics()

    metrics.request("/v1/jobs/{job_id}", "GET", 200, 0.003)
    metrics.request("/v1/jobs/{job_id}", "GET", 200, 0.5)
    metrics.refused("rate-limited")
    metrics.guarded("slow")

    told = metrics.exposition().decode()
    assert 'gridward_requests_total{method="GET",route="/v1/jobs/{job_id}",status="200"} 2.0' in told
    assert 'gridward_request_seconds_bucket{le="0.005",route="/v1/jobs/{job_id}"} 1.0' in told
    assert 'gridward_refused_total{problem="rate-limited"} 1.0' in told
    assert 'gridward_guard_level_total{level="slow"} 1.0' in told


def test_a_caller_cannot_make_labels(shared: Service) -> None:
    for number in range(3):
        shared.ask("GET", f"/no/such/{number}")
    shared.ask("BREW", "/healthz")

    told = shared.ask("GET", "/metrics", role="operator").text

    assert "/no/such" not in told
    assert 'route="none"' in told
    assert 'method="other"' in told
    assert "BREW" not in told


def test_metrics_are_not_for_everybody(shared: Service) -> None:
    assert shared.ask("GET", "/metrics").status_code == 401
    assert shared.ask("GET", "/metrics", role="analyst").status_code == 403


def test_several_workers_are_counted_together(tmp_path: Path) -> None:
    count = "from api.metrics import Metrics; metrics = Metrics(); metrics.request('/x', 'GET', 200, 0.1)"
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PATH": ""}
    for program in (count, count, f"{count}; print(metrics.exposition().decode())"):
        told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)

    assert 'gridward_requests_total{method="GET",route="/x",status="200"} 3.0' in told.stdout
