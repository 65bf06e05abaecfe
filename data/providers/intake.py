"""Asks every provider once, side by side: whatever one of them does, the others' answers come in.

    key record active? → ask → read and check → key record still active? → keep payload and record

Every payload that came in whole or in part is kept under its SHA-256, accepted or not, with a record of who sent it, when,
and what became of it (AML.T0059: what cannot be traced cannot be taken out again).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path

from data.errors import ProviderFailed
from data.providers.protocol import LastAnswer, ProviderAnswer, WeatherProvider
from security.errors import KeyringError

Outcome = ProviderAnswer | ProviderFailed
RequireKey = Callable[[str, str], object]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


def poll(
    providers: Sequence[WeatherProvider],
    last: Mapping[str, LastAnswer],
    now: datetime,
    *,
    folder: Path,
    require_key: RequireKey,
    deadline_seconds: float = 60.0,
) -> dict[str, Outcome]:
    """What each provider answers at `now` (UTC), or why it failed; by name, in the order given.

    last: of each provider, what its last accepted answer left to remember. folder: `payloads/<sha256>` and
    `records/<time>-<name>.json` go there, mode 0600. require_key(key_id, name): raises KeyringError unless the record is
    active; asked before and after, in this thread, and has to look afresh each time. Raises ValueError for names that are
    not plain or stand twice, OSError when evidence cannot be kept.
    """
    names = [provider.name for provider in providers]
    if len(set(names)) != len(names) or not all(_NAME.fullmatch(name) for name in names):
        raise ValueError(f"provider names must be distinct, of letters, digits, '_' or '-': {names}")
    outcomes: dict[str, Outcome] = {}
    allowed = []
    for provider in providers:
        revoked = _key_refused(provider, require_key)
        if revoked is None:
            allowed.append(provider)
        else:
            outcomes[provider.name] = revoked
    for provider, outcome in zip(allowed, _ask_all(allowed, last, now, deadline_seconds), strict=True):
        # Revoked while it was asked: refused from that moment on.
        outcomes[provider.name] = _key_refused(provider, require_key, outcome.payload) or outcome
    for provider in providers:
        _keep(folder, provider, outcomes[provider.name], now)
    return {name: outcomes[name] for name in names}


def _key_refused(provider: WeatherProvider, require_key: RequireKey, payload: bytes = b"") -> ProviderFailed | None:
    if provider.key_id is None:
        return None
    try:
        require_key(provider.key_id, provider.name)
    except KeyringError as error:
        problem = f"its key is not accepted: {error.problem}"
        mend = "register a new key record once the provider is trusted again"
        return ProviderFailed(problem, provider=provider.name, reason="revoked", mend=mend, payload=payload)
    return None


def _ask_all(
    providers: Sequence[WeatherProvider], last: Mapping[str, LastAnswer], now: datetime, deadline_seconds: float
) -> list[Outcome]:
    if not providers:
        return []
    pool = ThreadPoolExecutor(max_workers=len(providers), thread_name_prefix="weather-provider")
    asked = [pool.submit(provider.fetch, now, last.get(provider.name)) for provider in providers]
    wait(asked, timeout=deadline_seconds)
    # Who is late is not waited for: its thread ends with its own deadline.
    pool.shutdown(wait=False, cancel_futures=True)
    return [_outcome(provider, future, deadline_seconds) for provider, future in zip(providers, asked, strict=True)]


def _outcome(provider: WeatherProvider, future: Future[ProviderAnswer], deadline_seconds: float) -> Outcome:
    if not future.done():
        problem = f"no answer within {deadline_seconds:g} s"
        return ProviderFailed(problem, provider=provider.name, reason="timeout", mend="ask again later")
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, ProviderFailed):
        return error
    # A fault of ours that one provider's answer set off must not silence the others.
    failed = ProviderFailed(
        f"{type(error).__name__} while it was asked",
        provider=provider.name,
        reason="unexpected",
        mend="report this as a bug",
    )
    failed.__cause__ = error
    return failed


def _keep(folder: Path, provider: WeatherProvider, outcome: Outcome, now: datetime) -> None:
    digest = hashlib.sha256(outcome.payload).hexdigest() if outcome.payload else ""
    if digest:
        _write(folder / "payloads" / digest, outcome.payload)
    record: dict[str, str | int | None] = {
        "provider": provider.name,
        "key_id": provider.key_id,
        "asked_at": now.astimezone(UTC).isoformat(),
        "url": outcome.url,
        "sha256": digest,
        "bytes": len(outcome.payload),
    }
    if isinstance(outcome, ProviderFailed):
        record |= {"outcome": "refused", "reason": outcome.reason, "problem": outcome.problem}
    else:
        record |= {
            "outcome": "unchanged" if outcome.not_modified else "accepted",
            "received_at": outcome.received_at.astimezone(UTC).isoformat(),
            "updated_at": outcome.updated_at.isoformat(),
            "etag": outcome.etag,
            "last_modified": outcome.last_modified,
        }
    name = f"{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{provider.name}.json"
    _write(folder / "records" / name, json.dumps(record, indent=1, sort_keys=True).encode())


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and readable by nobody else."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
