"""POST /v1/retrain."""

from __future__ import annotations

from api.guards import Caller, ServingHere, guarded_router, needs
from api.schemas.models import ModelAnswer
from api.schemas.retraining import RetrainOrder
from pipeline.weather_policy import WeatherPolicy
from security.permissions import Permission

router = guarded_router("retraining")


@router.post("/v1/retrain", openapi_extra=needs(Permission.RETRAIN))
def retrain(order: RetrainOrder, serving: ServingHere, caller: Caller) -> ModelAnswer:
    """Train from the last clean backup and what came later, publish, and serve the new model. Answers when it is done."""
    policy = WeatherPolicy.parse(order.weather_policy)
    record = serving.retrain(by=caller.subject, policy=policy, as_of_day=order.as_of_day)
    return ModelAnswer.model_validate(record)
