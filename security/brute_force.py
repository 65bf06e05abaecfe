"""Guessing slowed: who shows wrong tokens or keys waits, longer each time, and is forgiven after an hour.

    address    after 5 failures from one IPv4 address, or one /64 of IPv6, the next check is made 1 s later, then 2, 4, 8, …
               at most 900 s; before that it is not made at all, right or wrong
    network    the same after 40 failures from one /24, or one /48: addresses are cheap
    API key    after 20 failures on one key's id, from anywhere: an address that has not shown that key right waits after
               its first failure on it already

No count locks a key's owner out: a right key opens at its first showing from any address that is not itself waiting, however
often others guess at its id. Whoever shares an address with a guesser waits with it only until shown right once:
`api.admission` does not ask here for what it has seen open before. What bounds guessing from many networks at last is the
256 bits of a key, and of a token's signature: the waits are there so that guesses cost the guesser, and not the service.

A try is counted before it is judged and taken back when it was right, so that many at the same moment gain nothing. A
guesser who has one right key gains nothing either: it takes back its own try and no other. Controls: AML.T0012, AML.T0029.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from security.errors import RateLimited
from security.shared_state import Delete, Get, Increment, PutIfAbsent, SharedState

FREE_OF_ADDRESS = 5
FREE_OF_NETWORK = 40
KEY_UNDER_ATTACK = 20
LONGEST_WAIT_SECONDS = 900.0
REMEMBERED_SECONDS = 3600.0

_UNKNOWN = "unknown"


class TooManyFailures(RateLimited):
    """Too many wrong tokens or keys from one place; nothing was checked. `origin`, `retry_after_seconds`."""

    def __init__(self, origin: str, retry_after_seconds: float) -> None:
        self.origin = origin
        super().__init__(
            "too many refused tokens or keys from this network",
            retry_after_seconds=retry_after_seconds,
            mend=f"try again in {retry_after_seconds:.0f} s, with a token that was issued to you",
        )


@dataclass(frozen=True)
class Origin:
    """Where a caller sits: one address (of IPv6 the /64 that one customer has), and the network around it."""

    address: str
    network: str

    @classmethod
    def of(cls, address: str) -> Origin:
        """The origin of an address as the socket tells it; all that cannot be read are one."""
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return cls(_UNKNOWN, _UNKNOWN)
        if isinstance(parsed, ipaddress.IPv6Address):
            if parsed.ipv4_mapped is None:
                return cls(_around(parsed, 64), _around(parsed, 48))
            parsed = parsed.ipv4_mapped
        return cls(str(parsed), _around(parsed, 24))


@dataclass(frozen=True)
class Try:
    """One check that may be made: its counts, and the waits that it began. See `BruteForce.right`."""

    counts: tuple[str, ...]
    claimed: tuple[str, ...]


class BruteForce:
    """The failures of every network, in the state that all workers share. clock: seconds since 1970."""

    def __init__(self, state: SharedState, clock: Callable[[], float] = time.time) -> None:
        self._state = state
        self._clock = clock

    async def begin(self, origin: Origin, key_id: str = "") -> Try:
        """Count a try; `key_id` of the API key it is made with. It stays counted as a failure unless `right` is told.

        Raises TooManyFailures while the origin has to wait, and UnavailableError when the store fails.
        """
        places = (f"address:{origin.address}", f"network:{origin.network}")
        waits = [f"tries:wait:{place}" for place in places]
        self._require_none(origin, await self._state.apply(*map(Get, waits)))
        counts = tuple(f"tries:{place}" for place in (*places, *([f"key:{key_id}"] if key_id else [])))
        made = await self._state.apply(*(Increment(name, 1.0, REMEMBERED_SECONDS) for name in counts))
        guessed_at = bool(key_id) and made[2] > KEY_UNDER_ATTACK
        over = (made[0] - (1 if guessed_at else FREE_OF_ADDRESS), made[1] - FREE_OF_NETWORK)
        begun = [(name, _wait_seconds(beyond)) for name, beyond in zip(waits, over, strict=True) if beyond >= 0]
        if begun:
            await self._claim(origin, begun, counts)
        return Try(counts, tuple(name for name, _ in begun))

    async def right(self, tried: Try) -> None:
        """Whoever tried was right: this was no failure, and nobody waits for it."""
        await self._state.apply(*_taken_back(tried.counts), *map(Delete, tried.claimed))

    async def _claim(self, origin: Origin, begun: list[tuple[str, float]], counts: tuple[str, ...]) -> None:
        """Begin the waits. Of many tries at the same moment one begins them and is judged, the others wait."""
        now = self._clock()
        standing = await self._state.apply(
            *(PutIfAbsent(name, repr(now + seconds).encode("ascii"), seconds) for name, seconds in begun)
        )
        if any(standing):
            await self._state.apply(*_taken_back(counts))
            self._require_none(origin, standing)

    def _require_none(self, origin: Origin, standing: list[bytes | None]) -> None:
        until = [float(moment) for moment in standing if moment is not None]
        if until:
            raise TooManyFailures(origin.address, max(0.0, max(until) - self._clock()))


def _wait_seconds(beyond: float) -> float:
    return min(math.ldexp(1.0, min(int(beyond), 32)), LONGEST_WAIT_SECONDS)


def _taken_back(counts: tuple[str, ...]) -> list[Increment]:
    return [Increment(name, -1.0, REMEMBERED_SECONDS) for name in counts]


def _around(address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int) -> str:
    return str(ipaddress.ip_network((address, bits), strict=False))
