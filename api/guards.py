"""Who asks, how often, may they: every guarded route passes these gates before a byte of its body is read.

The order, each failure a problem document:
    1. size          middleware.BodyLimit                                413
    2. identity      a token or an API key, by `admission`               401, or 429 after too many wrong ones
    3. rate          one budget a minute for each subject                429
    4. permission    the route's own, by the caller's role               403
    5. idempotency   of writes that carry an Idempotency-Key             409, 422
    6. shape         the request's schema                                422
    7. what it costs and what can be learned from it: `query_gate`, of the routes that forecast          429, 403
A gate whose store fails lets nobody through: 503. Every answer, of whichever gate, is entered in the audit log by
`accounting` before it leaves. Controls: AML.T0012 (valid accounts), AML.T0029 (denial of service), AML.T0034 (cost
harvesting), AML.T0040 (inference API access).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from api.accounting import DENIED, network_of
from api.house import House
from api.idempotency import idempotent
from pipeline.serving import Serving
from security.errors import PermissionDenied, TokenRefused
from security.identity import Identity
from security.permissions import Permission, require

PERMISSION = "x-permission"
IDEMPOTENT = "x-idempotent"


class GuardedRoute(APIRoute):
    """A route that admits its caller first. One without a permission fails when the service is made, not when it runs."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind the gates."""
        facts = self.openapi_extra or {}
        permission = Permission(facts[PERMISSION])
        handle = super().get_route_handler()
        behind = idempotent(handle) if facts.get(IDEMPOTENT) else handle

        async def guarded(request: Request) -> Response:
            request.state.identity = None
            request.state.identity = await admit(request, permission)
            return await behind(request)

        return guarded


def guarded_router(tag: str) -> APIRouter:
    """A router whose every route is guarded; each names its permission with `needs`."""
    bearer = HTTPBearer(auto_error=False, description="a token from `gridward token`, or an API key")
    return APIRouter(route_class=GuardedRoute, tags=[tag], dependencies=[Security(bearer)])


def needs(permission: Permission, *, idempotent: bool = False) -> dict[str, Any]:
    """The `openapi_extra` of a route that only callers with `permission` may use; it shows in the OpenAPI document.

    idempotent: a write, which may carry an Idempotency-Key.
    """
    return {PERMISSION: permission.value, **({IDEMPOTENT: True} if idempotent else {})}


async def admit(request: Request, permission: Permission) -> Identity:
    """The caller, if gates 2 to 4 open. Raises TokenRefused, RateLimited, PermissionDenied, UnavailableError."""
    house = house_of(request)
    try:
        identity = await house.admission.identify(request)
    except TokenRefused as error:
        # Before the entry: a flood of bad tokens must not fill the log either.
        await house.limiter.charge(f"address {network_of(request.scope)}")
        account(request, action=DENIED, why=getattr(error, "reason", error.problem))
        raise
    # From here on the audit entry names who it was, also when a gate stays shut.
    request.state.identity = identity
    await house.limiter.charge(f"subject {identity.subject}")
    try:
        require(identity, permission)
    except PermissionDenied as error:
        account(request, action=DENIED, why=error.problem)
        raise
    return identity


def account(request: Request, *, action: str | None = None, subject: str | None = None, **facts: Any) -> None:
    """Add to the entry that the audit log gets of this request: what was done to what, and facts worth keeping.

    No fact may hold a secret or more of a person than an id.
    """
    entry: dict[str, Any] = request.scope["state"].setdefault("account", {})
    entry.update(facts)
    if action is not None:
        entry["action"] = action
    if subject is not None:
        entry["subject"] = subject


def house_of(request: Request) -> House:
    """What the routes work with."""
    house: House = request.app.state.house
    return house


def serving_of(request: Request) -> Serving:
    """The station that answers."""
    return house_of(request).serving


def caller_of(request: Request) -> Identity:
    """Who was admitted."""
    identity: Identity = request.state.identity
    return identity


HouseHere = Annotated[House, Depends(house_of)]
ServingHere = Annotated[Serving, Depends(serving_of)]
Caller = Annotated[Identity, Depends(caller_of)]
