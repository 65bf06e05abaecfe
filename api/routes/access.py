"""GET /v1/whoami, POST /v1/tokens, /v1/tokens/revoke, GET and POST /v1/api-keys, DELETE /v1/api-keys/{key_id}.

Neither a token nor a key is answered twice: these routes keep no answers for an Idempotency-Key.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlmodel import select
from starlette.exceptions import HTTPException

from api.guards import Caller, HouseHere, account, guarded_router, needs
from api.pages import PageAsked, next_page, rows_of
from api.schemas.access import (
    ApiKeyAnswer,
    ApiKeyOrder,
    ApiKeysAnswer,
    NewApiKeyAnswer,
    TokenAnswer,
    TokenRevocationOrder,
    TokenRevokedAnswer,
    WhoAnswer,
)
from api.schemas.message import ONE_LINE
from pipeline.database import reading, transaction
from pipeline.keyset import Position, newest_first
from pipeline.station import Station
from security.api_keys import ApiKey, MayNotGrant, UnknownApiKey, revoke_api_key
from security.identity import Identity
from security.permissions import GRANTS, Permission, require
from security.revoked_tokens import RevokedToken, revoke_token

router = guarded_router("access")

KeyId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", examples=["5f2c1d0a9b8e7f60"])]
WithdrawnBecause = Annotated[
    str, Query(min_length=1, max_length=500, pattern=ONE_LINE, description="stands in the audit log")
]


@router.get("/v1/whoami", openapi_extra=needs(Permission.USE_OWN_ACCESS))
async def who_am_i(caller: Caller) -> WhoAnswer:
    """The caller, what was shown, until when it opens, and what it opens."""
    return WhoAnswer(
        subject=caller.subject,
        role=caller.role,
        method=caller.method,
        token_id=caller.token_id,
        key_id=caller.key_id,
        issued_at=caller.issued_at,
        expires_at=caller.expires_at,
        permissions=sorted(GRANTS[caller.role]),
    )


@router.post("/v1/tokens", openapi_extra=needs(Permission.USE_OWN_ACCESS))
def exchange(request: Request, house: HouseHere, caller: Caller) -> TokenAnswer:
    """A token of fifteen minutes at most for the API key that is shown. 403 for a token: none begets another."""
    issued = house.admission.exchange(caller)
    account(request, action="access.granted", subject=caller.subject, issued_token_id=issued.token_id, role=caller.role)
    return TokenAnswer(token=issued.text, token_id=issued.token_id, expires_at=issued.expires_at)


@router.post("/v1/tokens/revoke", openapi_extra=needs(Permission.USE_OWN_ACCESS))
async def revoke(order: TokenRevocationOrder, request: Request, house: HouseHere, caller: Caller) -> TokenRevokedAnswer:
    """Withdraw the token that is shown, one that was issued for the same API key, or, as an admin, anybody's."""
    token_id = order.token_id or caller.token_id
    if token_id == caller.key_id:
        raise HTTPException(HTTPStatus.CONFLICT, "an API key was shown, and no token named: DELETE /v1/api-keys/{key_id}")
    if not _is_own(token_id, caller):
        _require_admin(caller)
    record = await run_in_threadpool(_withdraw_token, house.serving.station, token_id, caller, order.reason)
    house.admission.forget()
    account(request, action="access.revoked", subject=f"token {token_id}", reason=order.reason)
    return TokenRevokedAnswer(token_id=record.token_id, revoked_at=record.revoked_at)


@router.get("/v1/api-keys", openapi_extra=needs(Permission.MANAGE_ACCESS))
def list_keys(house: HouseHere, page: PageAsked, request: Request, response: Response) -> ApiKeysAnswer:
    """Every API key there ever was, the newest first, without its secret, which nobody has."""

    def read(after: Position | None, limit: int) -> list[ApiKey]:
        with reading(house.serving.station.engine) as session:
            rows = newest_first(select(ApiKey), ApiKey.created_at, ApiKey.key_id, after, limit)
            return list(session.exec(rows))

    found, more = rows_of(page, read)
    ended = Position(found[-1].created_at, found[-1].key_id) if more else None
    keys = [ApiKeyAnswer.of(record) for record in found]
    return ApiKeysAnswer(keys=keys, next=next_page(request, response, page, ended))


@router.post("/v1/api-keys", status_code=HTTPStatus.CREATED, openapi_extra=needs(Permission.MANAGE_ACCESS))
async def create_key(order: ApiKeyOrder, request: Request, house: HouseHere, caller: Caller) -> NewApiKeyAnswer:
    """Make an API key for somebody else. Its text is in this answer and nowhere else."""
    lifetime = timedelta(days=order.days)
    made = await run_in_threadpool(house.admission.new_key, caller, order.owner, order.role, lifetime)
    house.admission.forget()
    facts = {"api_key_id": made.record.key_id, "role": order.role, "until": made.record.expires_at.isoformat()}
    account(request, action="access.granted", subject=order.owner, **facts)
    return NewApiKeyAnswer(key=made.text, facts=ApiKeyAnswer.of(made.record))


@router.delete("/v1/api-keys/{key_id}", openapi_extra=needs(Permission.MANAGE_ACCESS))
async def delete_key(
    key_id: KeyId, request: Request, house: HouseHere, caller: Caller, reason: WithdrawnBecause
) -> ApiKeyAnswer:
    """Withdraw an API key for good, and every token that was issued for it."""
    _require_admin(caller)
    try:
        record = await run_in_threadpool(_withdraw_key, house.serving.station, key_id, caller, reason)
    except UnknownApiKey as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no API key of this id; GET /v1/api-keys lists them") from error
    house.admission.forget()
    account(request, action="access.revoked", subject=f"API key {key_id}", owner=record.owner, reason=reason)
    return ApiKeyAnswer.of(record)


def _is_own(token_id: str, caller: Identity) -> bool:
    return token_id == caller.token_id or (bool(caller.key_id) and token_id.startswith(f"{caller.key_id}."))


def _require_admin(caller: Identity) -> None:
    require(caller, Permission.MANAGE_ACCESS)
    if caller.key_id:
        raise MayNotGrant(caller.subject, caller.role, "an API key may not administrate tokens and keys")


def _withdraw_token(station: Station, token_id: str, caller: Identity, reason: str) -> RevokedToken:
    with transaction(station.engine) as session:
        return revoke_token(session, token_id, by=caller.subject, reason=reason, at=datetime.now(UTC))


def _withdraw_key(station: Station, key_id: str, caller: Identity, reason: str) -> ApiKey:
    with transaction(station.engine) as session:
        return revoke_api_key(session, key_id, by=caller.subject, reason=reason, at=datetime.now(UTC))
