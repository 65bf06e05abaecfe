"""What was asked of the running system in the story, and what it answered: a request over HTTP, or a command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. act: what it shows; wanted, status: HTTP status, or exit code of a command (−9: killed);
    answer: the part that matters.
    """

    act: str
    role: str
    request: str
    wanted: int
    status: int
    answer: dict[str, Any]
