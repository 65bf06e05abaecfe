"""POST /v1/models/{model_id}/promotion, …/approvals, …/retire: which model runs, decided by two people."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Path
from starlette.exceptions import HTTPException

from api.guards import Caller, HouseHere, guarded_router, needs
from api.house import House
from api.schemas.models import ModelAnswer
from api.schemas.promotions import ApprovalOrder, PromotionAnswer, PromotionOrder, RetirementOrder
from pipeline import registry
from pipeline.approvals import approve_for_demo, approve_promotion, propose_promotion
from pipeline.database import reading
from pipeline.promotion import promote, withdraw
from security.permissions import Permission

router = guarded_router("models")

ModelId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", examples=["0f3a9c1d2b4e5f60"])]

WAITS, IN_SERVICE = "waits", "in-service"


@router.post("/v1/models/{model_id}/promotion", openapi_extra=needs(Permission.PROPOSE_PROMOTION, idempotent=True))
def propose(model_id: ModelId, order: PromotionOrder, house: HouseHere, caller: Caller) -> PromotionAnswer:
    """Ask the operators to put a model in service: verifies it, and answers the bytes to sign and who may sign them."""
    _require_known(house, model_id)
    candidate = propose_promotion(house.serving.station, model_id, by=caller, at=house.clock(), replace=order.replace)
    return PromotionAnswer.of(candidate, WAITS)


@router.post("/v1/models/{model_id}/approvals", openapi_extra=needs(Permission.APPROVE_PROMOTION, idempotent=True))
def approve(model_id: ModelId, order: ApprovalOrder, house: HouseHere, caller: Caller) -> PromotionAnswer:
    """Approve a promotion with an operator's signature. The last that was needed publishes the model and serves it."""
    _require_known(house, model_id)
    station, at = house.serving.station, house.clock()
    if order.key_id:
        candidate = approve_promotion(
            station, model_id, by=caller, key_id=order.key_id, signature=order.signature_bytes, at=at
        )
    else:
        candidate = approve_for_demo(station, model_id, by=caller, at=at)
    if not candidate.approved:
        return PromotionAnswer.of(candidate, WAITS)
    promote(station, model_id, by=caller.subject, at=at)
    house.serving.reload(by=caller.subject)
    return PromotionAnswer.of(candidate, IN_SERVICE)


@router.post("/v1/models/{model_id}/retire", openapi_extra=needs(Permission.RETIRE_MODEL, idempotent=True))
def retire(model_id: ModelId, order: RetirementOrder, house: HouseHere, caller: Caller) -> ModelAnswer:
    """Put a model aside that is not in service; it may be approved again. 409 for one that is."""
    _require_known(house, model_id)
    record = withdraw(
        house.serving.station, model_id, registry.RETIRED, by=caller.subject, reason=order.reason, at=house.clock()
    )
    return ModelAnswer.model_validate(record)


def _require_known(house: House, model_id: str) -> None:
    with reading(house.serving.station.engine) as session:
        if session.get(registry.ModelRecord, model_id) is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no model of this id; GET /v1/models lists them")
