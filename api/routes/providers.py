"""GET /v1/providers, POST /v1/providers/{name}/revoke, …/readmit, …/trust."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Path
from starlette.exceptions import HTTPException

from api.guards import Caller, ServingHere, guarded_router, needs
from api.schemas.providers import ProviderAnswer, ProvidersAnswer, RevocationAnswer, StandingAnswer, StandingOrder
from pipeline.serving import Serving
from security.permissions import Permission

router = guarded_router("providers")

Name = Annotated[str, Path(max_length=100)]


@router.get("/v1/providers", openapi_extra=needs(Permission.READ_PROVIDERS))
def list_providers(serving: ServingHere) -> ProvidersAnswer:
    """Every weather provider, its standing and the state of its key."""
    return ProvidersAnswer(providers=[ProviderAnswer.model_validate(view) for view in serving.providers()])


@router.post("/v1/providers/{name}/revoke", openapi_extra=needs(Permission.REVOKE_PROVIDER))
def revoke(name: Name, order: StandingOrder, serving: ServingHere, caller: Caller) -> RevocationAnswer:
    """Stop believing a provider: its keys for good, and its values from the estimated onset on. Answers what it touched."""
    if _state(serving, name) == "revoked":
        raise HTTPException(HTTPStatus.CONFLICT, "this provider was revoked before")
    return RevocationAnswer.of(serving.revoke(name, by=caller.subject, reason=order.reason))


@router.post("/v1/providers/{name}/readmit", openapi_extra=needs(Permission.READMIT_PROVIDER))
def readmit(name: Name, order: StandingOrder, serving: ServingHere, caller: Caller) -> StandingAnswer:
    """Put a provider that was cut off on probation: held against the others, and not heard."""
    _state(serving, name)
    return StandingAnswer.model_validate(serving.readmit(name, by=caller.subject, reason=order.reason))


@router.post("/v1/providers/{name}/trust", openapi_extra=needs(Permission.READMIT_PROVIDER))
def trust(name: Name, order: StandingOrder, serving: ServingHere, caller: Caller) -> StandingAnswer:
    """Trust a provider on probation again. What it said before stays left out."""
    _state(serving, name)
    return StandingAnswer.model_validate(serving.trust(name, by=caller.subject, reason=order.reason))


def _state(serving: Serving, name: str) -> str:
    states = {view.name: view.state for view in serving.providers()}
    if name not in states:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no provider of this name; GET /v1/providers lists them")
    return states[name]
