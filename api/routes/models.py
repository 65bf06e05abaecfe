"""GET /v1/models, POST /v1/models/reload."""

from __future__ import annotations

from api.guards import Caller, ServingHere, guarded_router, needs
from api.schemas.models import ModelAnswer, ModelsAnswer, ReloadAnswer
from security.permissions import Permission

router = guarded_router("models")


@router.get("/v1/models", openapi_extra=needs(Permission.READ_MODELS))
def list_models(serving: ServingHere) -> ModelsAnswer:
    """Every published model, and the one that answers."""
    models = [ModelAnswer.model_validate(record) for record in serving.models()]
    return ModelsAnswer(active_model_id=serving.active_model_id, models=models)


@router.post("/v1/models/reload", openapi_extra=needs(Permission.RELOAD_MODELS))
def reload_model(serving: ServingHere, caller: Caller) -> ReloadAnswer:
    """Verify and load the registry's active model anew. One that was tampered with is refused: 409, naming the file."""
    return ReloadAnswer(active_model_id=serving.reload(by=caller.subject))
