"""A clock that stands still until a test moves it, for whatever lives in the shared state."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from security import memory_state


class Moment:
    """Seconds since 1970, as the test says."""

    def __init__(self) -> None:
        self._now = 1_770_000_000.0

    def __call__(self) -> float:
        return self._now

    def pass_seconds(self, seconds: float) -> None:
        self._now += seconds


def held(monkeypatch: pytest.MonkeyPatch) -> Moment:
    """The clock of every MemoryState from now on."""
    moment = Moment()
    monkeypatch.setattr(memory_state, "time", SimpleNamespace(monotonic=moment))
    return moment
