"""What a caller gets who spends a budget."""

from __future__ import annotations

import contextlib

from security.errors import RateLimited, UnavailableError
from security.rate_limit import RateLimiter


async def granted(limiter: RateLimiter, asked: int, key: str = "olga") -> int:
    """How many of `asked` charges were granted."""
    count = 0
    for _ in range(asked):
        with contextlib.suppress(RateLimited, UnavailableError):
            await limiter.charge(key)
            count += 1
    return count
