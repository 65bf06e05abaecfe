"""A write that is sent twice is done once: the header `Idempotency-Key` (IETF draft httpapi-idempotency-key-header).

The first request with a key claims it; its answer is kept for 24 hours under the caller, the route and the key. The same
request again gets the same answer, with `Idempotent-Replayed: true`; another request with that key is refused. Nothing is
kept of an answer that says "not now" (429, 5xx): the same request may be sent again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError as ConstraintBroken
from starlette.exceptions import HTTPException

from pipeline import kept_answers
from pipeline.database import transaction
from pipeline.errors import AnswerInFlight, IdempotencyMismatch
from pipeline.kept_answers import IN_FLIGHT, Claim, KeptAnswer
from security.errors import GridwardError

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT_HEADERS = ("content-type", "location", "etag", "content-disposition", "link")

_KEY = re.compile(r"[\x21-\x7e]{1,128}")

Handle = Callable[[Request], Awaitable[Response]]


def idempotent(handle: Handle) -> Handle:
    """`handle`, a route's own handler behind the gates, done once for each key; without the header nothing is different.

    Raises RequestValidationError for a header that is no key, IdempotencyMismatch, AnswerInFlight.
    """

    async def once(request: Request) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return await handle(request)
        if _KEY.fullmatch(key) is None:
            where = {"loc": ("header", HEADER), "msg": "give 1 to 128 visible ASCII characters", "type": "value_error"}
            raise RequestValidationError([where])
        engine: Engine = request.app.state.house.serving.station.engine
        # The route's template: what stands in the path belongs to the question, and may be anything.
        claim = Claim(request.state.identity.subject, f"{request.method} {request.scope['route'].path}", key)
        target = json.dumps([request.url.path, request.url.query]).encode()
        asked = hashlib.sha256(target + b"\n" + await request.body()).hexdigest()
        kept = await run_in_threadpool(_claimed, engine, claim, asked)
        if kept is not None:
            return _replayed(kept, claim, asked)
        return await _answered(handle, request, engine, claim)

    return once


def _claimed(engine: Engine, claim: Claim, asked: str) -> KeptAnswer | None:
    """None when the key is ours now, else what stands under it."""
    try:
        with transaction(engine) as session:
            kept_answers.put_claim(session, claim, asked, datetime.now(UTC))
    except ConstraintBroken:
        with transaction(engine) as session:
            kept = kept_answers.find(session, claim)
        if kept is None:
            # Let go of between the two: whoever had it was told to come again, and so is this one.
            raise AnswerInFlight(claim.key) from None
        return kept
    return None


def _replayed(kept: KeptAnswer, claim: Claim, asked: str) -> Response:
    if kept.asked_sha256 != asked:
        raise IdempotencyMismatch(claim.key)
    if kept.status == IN_FLIGHT:
        raise AnswerInFlight(claim.key)
    return Response(kept.body, kept.status, {**json.loads(kept.headers), REPLAYED: "true"})


async def _answered(handle: Handle, request: Request, engine: Engine, claim: Claim) -> Response:
    """The answer, made now; kept, or the claim let go of, before it leaves."""
    answer: Response | None = None
    try:
        answer = await _as_answer(handle, request)
    finally:
        # Whatever ended it, also a client that went away: no key stays claimed for nothing.
        if answer is None or not _final(answer):
            await run_in_threadpool(_release, engine, claim)
    if _final(answer):
        headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
        await run_in_threadpool(_keep, engine, claim, answer, json.dumps(headers))
    return answer


async def _as_answer(handle: Handle, request: Request) -> Response:
    """What the caller gets, of a refusal too: by the handlers that the service has for errors."""
    try:
        return await handle(request)
    except (GridwardError, RequestValidationError, HTTPException) as error:
        handlers = request.app.exception_handlers
        of_error = next(handlers[cls] for cls in type(error).__mro__ if cls in handlers)
        answer: Response = of_error(request, error)
        return answer


def _final(answer: Response) -> bool:
    """Whether asking again can change nothing: it is whole, and does not say "not now"."""
    later = answer.status_code == HTTPStatus.TOO_MANY_REQUESTS or answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    return not later and hasattr(answer, "body")


def _keep(engine: Engine, claim: Claim, answer: Response, headers: str) -> None:
    with transaction(engine) as session:
        kept_answers.keep(session, claim, answer.status_code, headers, bytes(answer.body))


def _release(engine: Engine, claim: Claim) -> None:
    with transaction(engine) as session:
        kept_answers.release(session, claim)
