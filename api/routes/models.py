"""GET /v1/models, GET /v1/models/{model_id}, POST /v1/models/reload."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Path, Request, Response
from starlette.exceptions import HTTPException

from api.guards import Caller, ServingHere, account, guarded_router, needs
from api.pages import PageAsked, next_page, rows_of
from api.schemas.message import PLAIN_ID
from api.schemas.models import ModelAnswer, ModelProvenanceAnswer, ModelsAnswer, ReloadAnswer
from pipeline import model_provenance
from pipeline.database import reading
from security.permissions import Permission

router = guarded_router("models")


@router.get("/v1/models", openapi_extra=needs(Permission.READ_MODELS))
def list_models(serving: ServingHere, page: PageAsked, request: Request, response: Response) -> ModelsAnswer:
    """Every published model, newest first, and the one that answers."""
    with reading(serving.station.engine) as session:
        records, more = rows_of(page, lambda after, limit: model_provenance.page(session, after, limit))
    ended = model_provenance.position_of(records[-1]) if more else None
    following = next_page(request, response, page, ended)
    models = [ModelAnswer.model_validate(record) for record in records]
    return ModelsAnswer(active_model_id=serving.active_model_id, models=models, next=following)


@router.get("/v1/models/{model_id}", openapi_extra=needs(Permission.READ_MODELS))
def read_model(
    model_id: Annotated[str, Path(max_length=64, pattern=PLAIN_ID)], serving: ServingHere
) -> ModelProvenanceAnswer:
    """A model's card, the gates it was put through and what it was made from, and whether its bundle still holds."""
    found = model_provenance.model_provenance(serving.station, model_id)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no model of this id; GET /v1/models lists them")
    return ModelProvenanceAnswer.of(found)


@router.post("/v1/models/reload", openapi_extra=needs(Permission.RELOAD_MODELS, idempotent=True))
def reload_model(serving: ServingHere, caller: Caller, request: Request) -> ReloadAnswer:
    """Verify and load the registry's active model anew. One that was tampered with is refused: 409, naming the file."""
    active_model_id = serving.reload(by=caller.subject)
    account(request, action="model.reloaded", subject=active_model_id)
    return ReloadAnswer(active_model_id=active_model_id)
