"""GET /metrics: for Prometheus, which authenticates like everybody else."""

from __future__ import annotations

from fastapi import Response

from api.guards import HouseHere, guarded_router, needs
from api.metrics import CONTENT_TYPE
from security.permissions import Permission

router = guarded_router("health")


@router.get("/metrics", openapi_extra=needs(Permission.READ_METRICS), response_class=Response)
def read_metrics(house: HouseHere) -> Response:
    """Counters and durations of this service in Prometheus' text format."""
    return Response(house.metrics.exposition(), media_type=CONTENT_TYPE)
