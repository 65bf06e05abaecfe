"""Who asks, how often, may they: every /v1 route passes these gates before a byte of its body is read.

The order, each failure a problem document:
    1. size          middleware.BodyLimit                                413
    2. token         Bearer JWT, signed with a trusted key               401, noted; counted against the address
    3. rate          one budget a minute for each subject                429
    4. permission    the route's own, by the caller's role               403, noted
    5. shape         the request's schema                                422
A gate whose store fails lets nobody through: 503. Controls: AML.T0012 (valid accounts), AML.T0029 (denial of service),
AML.T0034 (cost harvesting), AML.T0040 (inference API access).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from pipeline.database import transaction
from pipeline.serving import Serving
from pipeline.station import note
from security.errors import PermissionDenied
from security.identity import Identity, RefusedToken, verify_token
from security.keyring import trusted_keys
from security.permissions import Permission, require
from security.rate_limit import RateLimiter

PERMISSION = "x-permission"
UNKNOWN = "unknown"


class GuardedRoute(APIRoute):
    """A route that admits its caller first. One without a permission fails when the service is made, not when it runs."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind the gates."""
        handle = super().get_route_handler()
        permission = Permission((self.openapi_extra or {})[PERMISSION])
        act = f"{'/'.join(self.methods or ())} {self.path}"

        async def guarded(request: Request) -> Response:
            request.state.identity = await run_in_threadpool(admit, request, permission, act)
            return await handle(request)

        return guarded


def guarded_router(tag: str) -> APIRouter:
    """A router whose every route is guarded; each names its permission with `needs`."""
    bearer = HTTPBearer(auto_error=False, description="a token from `gridward token`")
    return APIRouter(route_class=GuardedRoute, tags=[tag], dependencies=[Security(bearer)])


def needs(permission: Permission) -> dict[str, str]:
    """The `openapi_extra` of a route that only callers with `permission` may use; it shows in the OpenAPI document."""
    return {PERMISSION: permission.value}


def admit(request: Request, permission: Permission, act: str) -> Identity:
    """The caller, if gates 2 to 4 open. Raises TokenRefused, RateLimited, PermissionDenied, UnavailableError."""
    serving, limiter = serving_of(request), _limiter_of(request)
    address = request.client.host if request.client else UNKNOWN
    with transaction(serving.station.engine) as session:
        trusted = trusted_keys(session, "token")
    try:
        identity = verify_token(_bearer_token(request), trusted)
    except RefusedToken as error:
        # Before the note: a flood of bad tokens must not fill the log either.
        limiter.charge(f"address {address}")
        _note_denied(request, serving, UNKNOWN, act, {"why": error.reason, "address": address})
        raise
    limiter.charge(f"subject {identity.subject}")
    try:
        require(identity, permission)
    except PermissionDenied as error:
        details = {"why": error.problem, "address": address, "token_id": identity.token_id}
        _note_denied(request, serving, identity.subject, act, details)
        raise
    return identity


def serving_of(request: Request) -> Serving:
    """The station that answers."""
    serving: Serving = request.app.state.serving
    return serving


def caller_of(request: Request) -> Identity:
    """Who was admitted."""
    identity: Identity = request.state.identity
    return identity


ServingHere = Annotated[Serving, Depends(serving_of)]
Caller = Annotated[Identity, Depends(caller_of)]


def _limiter_of(request: Request) -> RateLimiter:
    limiter: RateLimiter = request.app.state.limiter
    return limiter


def _bearer_token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise RefusedToken("no bearer token")
    return token.strip()


def _note_denied(request: Request, serving: Serving, actor: str, act: str, details: dict[str, str]) -> None:
    facts = {**details, "request": request.state.request_id}
    note(serving.station, actor=actor, action="access.denied", subject=act, details=facts, at=serving.clock())
