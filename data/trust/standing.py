"""What is thought of each source: states, the events that change them, and who is heard.

    trusted → suspect → quarantined → revoked      suspect → trusted when the evidence fades
    quarantined or revoked → probation → trusted   only by an operator's act, never by the watch

A source on probation is held against the others without counting among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

TrustState = Literal["trusted", "suspect", "quarantined", "revoked", "probation"]
HEARD: tuple[TrustState, ...] = ("trusted", "suspect")
# Where an operator may lead a source from each state: back to trust only through probation.
LED_BY_OPERATOR: Mapping[TrustState, tuple[TrustState, ...]] = {
    "trusted": ("suspect", "quarantined", "revoked"),
    "suspect": ("trusted", "quarantined", "revoked"),
    "quarantined": ("probation", "revoked"),
    "revoked": ("probation",),
    "probation": ("trusted", "quarantined", "revoked"),
}


@dataclass(frozen=True)
class TrustEvent:
    """One change of a source's standing. at: decided; onset: since when it lies, as far as is known (UTC).

    level: the check that decided, 0–4; statistic: evidence in nats for levels 3 and 4, hours or counts below.
    """

    provider: str
    at: pd.Timestamp
    from_state: TrustState
    to_state: TrustState
    level: int
    reason: str
    onset: pd.Timestamp
    statistic: float
