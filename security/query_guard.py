"""What a caller may still ask: from open to blocked, by what it has learned and by how it asks (AML.T0024, AML.T0040).

    OPEN       all is answered
    SLOW       answers wait a little, longer the more was learned
    COARSE     and are rounded to about one per cent, with three quantiles' worth of information
    CHALLENGE  a token is needed that was issued after this level was reached: a program that holds a stolen token ends here
    BLOCKED    nothing that teaches is answered until an administrator releases the caller, or thirty days are over

The level is the higher of what the budgets say now (`query_budget`) and what was reached before, which falls back by one
step in twelve hours. The guard knows nothing of energy: `api.query_gate` makes a question of an order.
One round trip to the shared state a question, none for one that teaches nothing and whose caller was looked up this second.
Where the state is away, nothing is answered (UnavailableError).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType

from security.errors import AccessError
from security.query_budget import DAY_SECONDS, Limits, forget, forgive, learned_of, suspicion, touch
from security.query_sequence import KEPT, Signs, odd
from security.shared_state import Delete, Get, Push, Put, SharedState, Step

LONGEST_DELAY_SECONDS = 2.0
BLOCKED_SECONDS = 30 * DAY_SECONDS
FALL_SECONDS = DAY_SECONDS / 2
# A free question's caller is looked up again after this long; a block is in force in every worker within it.
LOOKED_UP_SECONDS = 1.0
_MOST_KEPT = 10_000

NEAR, PAST, REGION, CELL = "near", "past", "region", "cell"
# Chosen on the genuine mixes of benchmarks/model_theft.py with seeds that its table does not use.
LIMITS = Limits(
    weights=MappingProxyType({NEAR: 1.0, PAST: 2.0, REGION: 5.0, CELL: 1.0}),
    explores=frozenset({REGION, CELL}),
    a_day=1000.0,
    a_month=1500.0,
    role_a_month=4000.0,
    least_a_month=375.0,
)
SIGNS = Signs(few_intervals=2, creeping=0.25, rough=1.5, fewest=8)
ODD_COSTS = 0.02
STRANGE_COSTS = 0.01


class Level(IntEnum):
    """How freely a caller is answered."""

    OPEN = 0
    SLOW = 1
    COARSE = 2
    CHALLENGE = 3
    BLOCKED = 4


_FROM = ((1.0, Level.BLOCKED), (0.94, Level.CHALLENGE), (0.87, Level.COARSE), (0.80, Level.SLOW))


class ChallengeRequired(AccessError):
    """The caller must show who it is again: `subject`; a token issued before `since` (seconds since 1970) does not do."""

    def __init__(self, subject: str, since: float) -> None:
        self.subject, self.since = subject, since
        super().__init__(
            "so much was asked that a fresh token is needed",
            mend="sign in again, and ask with a token issued from now on; an API key is exchanged for one at /v1/tokens",
        )


class QueryBlocked(AccessError):
    """The caller has learned as much as it may: `subject`, `until` (seconds since 1970)."""

    def __init__(self, subject: str, until: float) -> None:
        self.subject, self.until = subject, until
        day = time.strftime("%Y-%m-%d", time.gmtime(until))
        super().__init__(
            f"this caller has asked for more of the model than its work can need, and is blocked until {day}",
            mend="ask an administrator to release it",
        )


@dataclass(frozen=True)
class Question:
    """What is asked, placed. digest: the same for questions too near to tell apart; mark: which part of the caller's
    watermark the answer bears; cells: kind → cells touched, empty when nothing can be learned; path: as
    `query_sequence.packed`, empty for none; strange: it was, or nearly was, refused as implausible.
    """

    digest: bytes
    mark: bytes
    cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    path: bytes = b""
    strange: bool = False


@dataclass(frozen=True)
class Standing:
    """A caller's level that was reached at `since` (seconds since 1970), and why."""

    level: Level = Level.OPEN
    since: float = 0.0
    why: str = ""

    def at(self, now: float) -> Standing:
        """The same as it has fallen back since; a block ends at once, when it ends."""
        if self.level is Level.BLOCKED:
            return self if now < self.since + BLOCKED_SECONDS else Standing()
        fallen = int((now - self.since) / FALL_SECONDS)
        return Standing(Level(max(0, self.level - fallen)), self.since, self.why)

    def to_bytes(self) -> bytes:
        """As it is kept."""
        return json.dumps([int(self.level), self.since, self.why]).encode()

    @classmethod
    def from_bytes(cls, kept: bytes | None) -> Standing:
        """What `to_bytes` wrote; the standing of a caller nobody wrote about is open."""
        if kept is None:
            return cls()
        level, since, why = json.loads(kept)
        return cls(Level(level), since, why)


@dataclass(frozen=True)
class Verdict:
    """How to answer. seed: the same question gets the same answer, whoever asks it, so that neither repeats nor several
    accounts average the randomisation away; watermark: what the caller's answers bear.
    standing: what the level rests on; news: nobody was told of it yet, see `QueryGuard.told`.
    """

    level: Level
    delay_seconds: float
    seed: bytes
    watermark: bytes
    standing: Standing
    news: bool = False

    def require_answerable(self, subject: str) -> None:
        """Raise QueryBlocked or ChallengeRequired where the verdict is no answer."""
        if self.level is Level.BLOCKED:
            raise QueryBlocked(subject, self.standing.since + BLOCKED_SECONDS)
        if self.level is Level.CHALLENGE:
            raise ChallengeRequired(subject, self.standing.since)


class QueryGuard:
    """The guard of one service. secret: of the station, 32 bytes; now: seconds since 1970.

    blocked: callers known to be blocked when the service starts (subject → standing); with what this worker blocks itself it
    is the floor that a shared state which lost its memory cannot take away.
    """

    def __init__(
        self,
        state: SharedState,
        secret: bytes,
        *,
        limits: Limits = LIMITS,
        now: Callable[[], float] = time.time,
        blocked: Mapping[str, Standing] | None = None,
    ) -> None:
        self._state, self._secret = state, secret
        self._limits, self._now = limits, now
        self._blocked = dict(blocked or {})
        self._looked_up: dict[str, tuple[float, Standing]] = {}
        self._told: dict[str, float] = {}

    async def judge(self, subject: str, role: str, issued_at: float, question: Question) -> Verdict:
        """Charge the question, and say how it is answered. issued_at: of the caller's token, seconds since 1970.

        Raises UnavailableError. What the verdict forbids, `Verdict.require_answerable` refuses.
        """
        now = self._now()
        if subject in self._blocked and self._blocked[subject].at(now).level is not Level.BLOCKED:
            del self._blocked[subject]
        # A blocked caller's attempts are not charged: they would shrink what its whole role may explore (AML.T0029).
        if question.cells and subject not in self._blocked:
            standing = await self._charge(subject, role, question, now)
        else:
            standing = await self._standing_of(subject, now)
        level = standing.level
        if level is Level.CHALLENGE and issued_at > standing.since:
            level = Level.COARSE
        delay = min(LONGEST_DELAY_SECONDS, LONGEST_DELAY_SECONDS * level / Level.COARSE)
        seed = _keyed(self._secret, b"seed\0" + question.digest)
        news = level is not Level.OPEN and self._told.get(subject) != standing.since
        return Verdict(level, delay, seed, self.watermark(subject, question.mark), standing, news)

    def told(self, subject: str, standing: Standing) -> None:
        """Those who must know of this standing were told. Until then each question of the caller is news."""
        if len(self._told) >= _MOST_KEPT:
            self._told.clear()
        self._told[subject] = standing.since

    async def standing(self, subject: str) -> Standing:
        """The caller's standing now. Raises UnavailableError."""
        now = self._now()
        kept, freed = await self._state.apply(Get(_level(subject)), Get(_freed(subject)))
        return self._floored(subject, Standing.from_bytes(kept), freed).at(now)

    async def release(self, subject: str) -> None:
        """Give the caller its whole budget back, at once here, within a second in every worker. Raises UnavailableError."""
        now = self._now()
        await self._state.apply(
            *forget(subject, self._limits, now),
            *forgive(subject, now),
            Delete(_level(subject)),
            Delete(_paths(subject)),
            Put(_freed(subject), repr(now).encode(), int(BLOCKED_SECONDS)),
        )
        self._blocked.pop(subject, None)
        self._looked_up.pop(subject, None)

    def watermark(self, subject: str, mark: bytes) -> bytes:
        """32 bytes that the caller's answers of this part bear: nobody without the secret can tell them from chance."""
        return watermark_of(self._secret, subject, mark)

    async def _standing_of(self, subject: str, now: float) -> Standing:
        found = self._looked_up.get(subject)
        if found is not None and now - found[0] < LOOKED_UP_SECONDS:
            return found[1].at(now)
        return self._remember(subject, await self.standing(subject), now)

    async def _charge(self, subject: str, role: str, question: Question, now: float) -> Standing:
        strange = suspicion(subject, STRANGE_COSTS * question.strange, now)
        steps: list[Step] = [Get(_level(subject)), Get(_freed(subject)), strange]
        if question.path:
            steps.append(Push(_paths(subject), question.path, KEPT, DAY_SECONDS))
        kept, freed, oddness, *rest = await self._state.apply(
            *steps, *touch(subject, role, question.cells, self._limits, now)
        )
        before = self._floored(subject, Standing.from_bytes(kept), freed).at(now)
        learned = learned_of(rest, self._limits)
        share, why = learned.share + oddness, f"{learned.share:.0%} {learned.what} used"
        sign = odd(question.path, rest[0], SIGNS) if question.path else ""
        if sign:
            (oddness,) = await self._state.apply(suspicion(subject, ODD_COSTS, now))
            share = learned.share + oddness
        if oddness:
            why += f", and {oddness:.0%} for odd sequences" + (f" ({sign})" if sign else "")
        reached = Standing(next((level for limit, level in _FROM if share >= limit), Level.OPEN), now, why)
        if before.level is Level.BLOCKED:
            self._blocked[subject] = before
        if reached.level <= before.level:
            return self._remember(subject, before, now)
        await self._state.apply(Put(_level(subject), reached.to_bytes(), int(BLOCKED_SECONDS)))
        if reached.level is Level.BLOCKED:
            self._blocked[subject] = reached
        return self._remember(subject, reached, now)

    def _floored(self, subject: str, kept: Standing, freed: bytes | None) -> Standing:
        """What is kept, but not below a block that this worker knows of and nobody released since."""
        known = self._blocked.get(subject)
        if known is None or known.level <= kept.level:
            return kept
        if freed is not None and float(freed) >= known.since:
            del self._blocked[subject]
            return kept
        return known

    def _remember(self, subject: str, standing: Standing, now: float) -> Standing:
        if len(self._looked_up) >= _MOST_KEPT:
            self._looked_up.clear()
        self._looked_up[subject] = (now, standing)
        if standing.level is Level.BLOCKED:
            self._blocked[subject] = standing
        return standing


def watermark_of(secret: bytes, subject: str, mark: bytes) -> bytes:
    """See `QueryGuard.watermark`."""
    return _keyed(secret, b"watermark\0" + subject.encode() + b"\0" + mark)


def _level(subject: str) -> str:
    return f"guard:{subject}:level"


def _freed(subject: str) -> str:
    return f"guard:{subject}:freed"


def _paths(subject: str) -> str:
    return f"guard:{subject}:paths"


def _keyed(secret: bytes, message: bytes) -> bytes:
    """32 bytes that only the secret's holder can tell: keyed BLAKE2b (RFC 7693).

    An HMAC by OpenSSL lets go of the interpreter lock for each call, and waits for another thread to hand it back.
    """
    return hashlib.blake2b(message, key=secret, digest_size=32).digest()
