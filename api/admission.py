"""Who asks: the caller behind a request's token or API key, or a refusal.

Every worker holds what the database says of keys and withdrawals for at most two seconds; a withdrawal works within that
everywhere, and at once in the worker that was asked for it (`forget`). After one second it is read anew beside the
answers, so that nobody waits for it; for a key that nobody heard of, a little sooner. Whom it says the caller is, is
remembered by the SHA-256 of what was shown, until it says anything else of anybody: the hot path is a digest and a look-up,
and no token lies in memory longer than its request.

Nothing is trusted for where it comes from: our own programs show a token like everybody (`pipeline.service_access`).
A store that is away lets nobody in: UnavailableError. Controls: AML.T0012, AML.T0040.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError

from pipeline.database import reading, transaction
from pipeline.settings import Settings
from pipeline.station import Station
from security.api_keys import MadeKey, id_in, make_api_key, note_used, pepper_of, require_may_grant
from security.brute_force import BruteForce, Origin
from security.credentials import Credentials, read_credentials
from security.errors import PermissionDenied, UnavailableError
from security.identity import EXCHANGED_LIFETIME, Identity, RefusedToken, Role, issue_token, new_token_id
from security.shared_state import SharedState

LONGEST_BELIEVED_SECONDS = 2.0
_RENEWED_AFTER_SECONDS = 1.0
# Made-up names must not have the database read for each of them.
_RENEWED_FOR_NEW_NAMES_SECONDS = 0.25
_STORE_PATIENCE_SECONDS = 1.5
_REMEMBERED = 4096

_Kept = TypeVar("_Kept")


@dataclass(frozen=True)
class _Believed:
    """What was read at one moment, by the monotonic clock, and whom it let in, by the digest of what was shown."""

    credentials: Credentials
    read_at: float
    callers: dict[bytes, Identity] = field(default_factory=dict)


@dataclass(frozen=True)
class Exchanged:
    """A token that was issued for an API key, the only copy; `expires_at` UTC."""

    token_id: str
    expires_at: datetime
    text: str = field(repr=False)


class Admission:
    """The door. One for each worker; `state` is what all of them share."""

    def __init__(self, station: Station, settings: Settings, state: SharedState) -> None:
        self._station = station
        self._lifetime = min(EXCHANGED_LIFETIME, timedelta(minutes=settings.token_minutes))
        self._pepper = pepper_of(station.chest)
        self._brute_force = BruteForce(state)
        self._believed: _Believed | None = None
        self._reading: asyncio.Task[_Believed] | None = None
        # Digests of what opened before, whatever became of it: showing it again is no guess.
        self._seen: dict[bytes, None] = {}
        self._used_keys: set[str] = set()

    async def identify(self, request: Request) -> Identity:
        """The caller. Raises TokenRefused, RateLimited after too many wrong tokens, UnavailableError."""
        shown = _shown(request)
        digest = sha256(shown.encode("utf-8", "surrogatepass")).digest()
        believed = await self._current()
        caller, now = believed.callers.get(digest), datetime.now(UTC)
        if caller is None or caller.expires_at <= now:
            if not believed.credentials.names_known(shown):
                believed = await self._current(oldest=_RENEWED_FOR_NEW_NAMES_SECONDS)
            caller = await self._judged(shown, digest, believed.credentials, request, now)
            _remember(believed.callers, digest, caller)
            _remember(self._seen, digest, None)
        if caller.method == "api-key":
            self._used_keys.add(caller.key_id)
        return caller

    def forget(self) -> None:
        """Read anew before the next caller is let in: something was withdrawn. To be called in the event loop."""
        self._believed = self._reading = None

    def exchange(self, caller: Identity) -> Exchanged:
        """A token for the API key that `caller` showed, for fifteen minutes at most. Raises PermissionDenied for a token.

        The signing key is read from the chest each time: it may have been replaced since the start.
        """
        if caller.method != "api-key":
            raise PermissionDenied("a token cannot be exchanged for another", mend="show the API key")
        now = datetime.now(UTC)
        lifetime = max(timedelta(seconds=1), min(self._lifetime, caller.expires_at - now))
        signer, token_id = self._station.chest.signer("token"), new_token_id(for_key=caller.key_id)
        text = issue_token(signer, caller.subject, caller.role, lifetime, now, token_id=token_id)
        return Exchanged(token_id, now + lifetime, text)

    def new_key(self, maker: Identity, owner: str, role: Role, lifetime: timedelta) -> MadeKey:
        """Make an API key. Blocking. Raises PermissionDenied as `require_may_grant`, ValueError as `make_api_key`."""
        require_may_grant(maker, owner, role)
        with transaction(self._station.engine) as session:
            return make_api_key(session, self._pepper, owner, role, lifetime, by=maker.subject, at=datetime.now(UTC))

    async def _judged(
        self, shown: str, digest: bytes, credentials: Credentials, request: Request, now: datetime
    ) -> Identity:
        if digest in self._seen:
            return credentials.identify(shown, self._pepper, now)
        origin = Origin.of(request.client.host if request.client else "")
        tried = await self._brute_force.begin(origin, id_in(shown))
        try:
            caller = credentials.identify(shown, self._pepper, now)
        except RefusedToken as error:
            if error.proven:
                await self._brute_force.right(tried)
            raise
        await self._brute_force.right(tried)
        return caller

    async def _current(self, oldest: float = LONGEST_BELIEVED_SECONDS) -> _Believed:
        """What is believed now; read anew beside it when it is a second old, waited for when it is as old as `oldest`."""
        believed = self._believed
        age = time.monotonic() - believed.read_at if believed is not None else math.inf
        if believed is not None and age < min(oldest, _RENEWED_AFTER_SECONDS):
            return believed
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(_failure_seen)
        if believed is not None and age < oldest:
            return believed
        reading = self._reading
        done, _ = await asyncio.wait({reading}, timeout=_STORE_PATIENCE_SECONDS)
        if not done:
            raise UnavailableError("the database does not answer, so nobody is let in", mend="try again")
        return reading.result()

    async def _read(self) -> _Believed:
        read_at = time.monotonic()
        try:
            credentials = await run_in_threadpool(self._from_database)
        except SQLAlchemyError as error:
            raise UnavailableError("the database cannot be read, so nobody is let in", mend="try again") from error
        before = self._believed
        if before is not None and before.credentials is credentials:
            # Nothing was withdrawn, made or replaced: who was let in still is, without a signature being computed again.
            believed = _Believed(credentials, read_at, before.callers)
        else:
            believed = _Believed(credentials, read_at)
        # What was begun before a withdrawal must not stand after it.
        if self._reading is asyncio.current_task():
            self._believed = believed
        return believed

    def _from_database(self) -> Credentials:
        """What the database says; what is believed already where that is the same."""
        now, before = datetime.now(UTC), self._believed
        with reading(self._station.engine) as session:
            credentials = read_credentials(session, now)
        used, self._used_keys = self._used_keys, set()
        today = now.date()
        unnoted = [key_id for key_id in used if credentials.keys[key_id].last_used_on < today.isoformat()]
        if unnoted:
            try:
                with transaction(self._station.engine) as session:
                    note_used(session, unnoted, today)
            except (UnavailableError, SQLAlchemyError):
                # What was read stands; the day is noted with the next reading.
                self._used_keys.update(unnoted)
        return before.credentials if before is not None and before.credentials == credentials else credentials


def _shown(request: Request) -> str:
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    shown = shown.strip()
    if scheme.lower() != "bearer" or not shown:
        raise RefusedToken("no bearer token", proven=True)
    return shown


def _remember(kept: dict[bytes, _Kept], digest: bytes, value: _Kept) -> None:
    """Keep the newest few thousand: a flood of tokens does not grow the memory."""
    while len(kept) >= _REMEMBERED:
        kept.pop(next(iter(kept)), None)
    kept[digest] = value


def _failure_seen(reading: asyncio.Task[_Believed]) -> None:
    # Whoever waits hears of it; beside a belief that still holds nobody waits, and the next one tries again.
    if not reading.cancelled():
        reading.exception()
