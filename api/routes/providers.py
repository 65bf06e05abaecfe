"""GET /v1/providers, /v1/providers/{name}, POST …/revoke, …/readmit, …/trust."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AwareDatetime, BeforeValidator
from starlette.exceptions import HTTPException

from api.guards import Caller, ServingHere, guarded_router, needs
from api.schemas.message import ONE_LINE
from api.schemas.providers import (
    ProviderAnswer,
    ProviderDetailAnswer,
    ProvidersAnswer,
    RevocationAnswer,
    StandingAnswer,
    StandingOrder,
)
from pipeline.provider_detail import provider_detail
from pipeline.serving import Serving
from pipeline.weather_standing import ProviderView
from security.permissions import Permission

router = guarded_router("providers")

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ].+")


def _written_out(given: Any) -> Any:
    """A moment as text (RFC 3339), and no number that might be seconds since somewhen."""
    if isinstance(given, str) and _MOMENT.fullmatch(given) is None:
        raise ValueError("give a moment as 2014-03-01T00:00:00Z")
    return given


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
Name = Annotated[str, Path(max_length=100, pattern=ONE_LINE)]


@router.get("/v1/providers", openapi_extra=needs(Permission.READ_PROVIDERS))
def list_providers(serving: ServingHere) -> ProvidersAnswer:
    """Every weather provider, its standing and the state of its key."""
    return ProvidersAnswer(providers=[ProviderAnswer.model_validate(view) for view in serving.providers()])


@router.get("/v1/providers/{name}", openapi_extra=needs(Permission.READ_EVIDENCE))
def read_provider(
    name: Name,
    serving: ServingHere,
    since: Annotated[Moment | None, Query(description="count what it touched from this moment on")] = None,
) -> ProviderDetailAnswer:
    """A provider's standing and its history, the evidence of the weather watch, its keys, and what its values touched."""
    return ProviderDetailAnswer.of(provider_detail(serving.station, _view(serving, name), since))


@router.post("/v1/providers/{name}/revoke", openapi_extra=needs(Permission.REVOKE_PROVIDER, idempotent=True))
def revoke(name: Name, order: StandingOrder, serving: ServingHere, caller: Caller) -> RevocationAnswer:
    """Stop believing a provider: its keys for good, and its values from the estimated onset on. Answers what it touched."""
    if _view(serving, name).state == "revoked":
        raise HTTPException(HTTPStatus.CONFLICT, "this provider was revoked before")
    return RevocationAnswer.of(serving.revoke(name, by=caller.subject, reason=order.reason))


@router.post("/v1/providers/{name}/readmit", openapi_extra=needs(Permission.READMIT_PROVIDER, idempotent=True))
def readmit(name: Name, order: StandingOrder, serving: ServingHere, caller: Caller) -> StandingAnswer:
    """Put a provider that was cut off on probation: held against the others, and not heard."""
    _view(serving, name)
    return StandingAnswer.model_validate(serving.readmit(name, by=caller.subject, reason=order.reason))


@router.post("/v1/providers/{name}/trust", openapi_extra=needs(Permission.READMIT_PROVIDER, idempotent=True))
def trust(name: Name, order: StandingOrder, serving: ServingHere, caller: Caller) -> StandingAnswer:
    """Trust a provider on probation again. What it said before stays left out."""
    _view(serving, name)
    return StandingAnswer.model_validate(serving.trust(name, by=caller.subject, reason=order.reason))


def _view(serving: Serving, name: str) -> ProviderView:
    views = {view.name: view for view in serving.providers()}
    if name not in views:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no provider of this name; GET /v1/providers lists them")
    return views[name]
