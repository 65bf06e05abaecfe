"""GET /v1/providers, POST /v1/providers/{name}/revoke."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Path
from starlette.exceptions import HTTPException

from api.guards import Caller, ServingHere, guarded_router, needs
from api.schemas import ProviderAnswer, ProvidersAnswer, RevocationAnswer, RevocationOrder
from security.permissions import Permission

router = guarded_router("providers")


@router.get("/v1/providers", openapi_extra=needs(Permission.READ_PROVIDERS))
def list_providers(serving: ServingHere) -> ProvidersAnswer:
    """Every weather provider, its standing and the state of its key."""
    return ProvidersAnswer(providers=[ProviderAnswer.model_validate(view) for view in serving.providers()])


@router.post("/v1/providers/{name}/revoke", openapi_extra=needs(Permission.REVOKE_PROVIDER))
def revoke(
    name: Annotated[str, Path(max_length=100)], order: RevocationOrder, serving: ServingHere, caller: Caller
) -> RevocationAnswer:
    """Stop believing a provider, for good: its keys, and its values from the estimated onset on. Answers what it touched."""
    states = {view.name: view.state for view in serving.providers()}
    if name not in states:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no provider of this name; GET /v1/providers lists them")
    if states[name] == "revoked":
        raise HTTPException(HTTPStatus.CONFLICT, "this provider was revoked before; revocation is final")
    return RevocationAnswer.of(serving.revoke(name, by=caller.subject, reason=order.reason))
