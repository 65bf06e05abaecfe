"""Names under which secrets travel, so that none is written where many may read (AML.T0055, CWE-532)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from functools import lru_cache

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORDS = {"password", "passwords", "passwd", "passphrase", "secret", "secrets"}


def refuse_secrets(value: object) -> None:
    """Raise ValueError for a member, at any depth, whose name says that it is a secret."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if _looks_secret(str(key)):
                raise ValueError(f"audit details may not hold {key!r}: it looks like a secret; log an id instead")
            refuse_secrets(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            refuse_secrets(inner)


@lru_cache(maxsize=1024)
def _looks_secret(key: str) -> bool:
    """`token` and `access_token` are secrets, `token_id` is a name."""
    words = [word.lower() for word in _WORD.findall(key)]
    ends_in_token = bool(words) and words[-1] in {"token", "tokens", "jwt"}
    holds_private_key = ("private", "key") in itertools.pairwise(words)
    return ends_in_token or holds_private_key or not _SECRET_WORDS.isdisjoint(words)
