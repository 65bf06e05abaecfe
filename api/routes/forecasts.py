"""POST /v1/forecasts."""

from __future__ import annotations

from api.guards import Caller, ServingHere, guarded_router, needs
from api.schemas.forecasts import ForecastAnswer, ForecastOrder
from security.permissions import Permission

router = guarded_router("forecasts")


@router.post("/v1/forecasts", openapi_extra=needs(Permission.READ_FORECAST))
def make_forecast(order: ForecastOrder, serving: ServingHere, caller: Caller) -> ForecastAnswer:
    """Forecast a local day from what was known at its gate closure."""
    return ForecastAnswer.of(serving.forecast(order.day, caller.subject), order.quantiles)
