"""The last gate before a forecast: what the order costs, what can be learned from it, and how it may be answered.

The routes that forecast ask here first. A forecast of a day is a function of the day: recent ones teach nothing that a
colleague would not tell, old ones are pairs to learn from. A what-if is the model itself, asked at a point of the caller's
choice: how near it is to the days at hand, and how far its path is from what the caller asked before, says what it is for.
Controls: AML.T0024 (extraction through the API), AML.T0034 (cost), AML.T0040 (inference API access).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import anyio
import numpy as np
import pandas as pd
from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from api.guards import account
from api.house import House
from data.schema import Array
from pipeline.database import transaction
from pipeline.guard_standings import enter_standing
from pipeline.watermark import mark_name
from security.identity import Identity
from security.query_guard import CELL, NEAR, PAST, REGION, Question, Verdict
from security.query_sequence import packed

# A forecast of the coming day, or of one of the week before it, is what the service is there for.
RECENT_DAYS = 7
USUAL_QUANTILES = 9
EXPLAINED_COSTS = 2
# Scenarios that differ by less have the same randomisation: means of so many parts of the day, so many degrees apart.
PARTS, CELL_C = 6, 0.5
REGION_C = 3.0


@dataclass(frozen=True)
class AskedForecast:
    """An order for forecasts of local day `day` and the `days` − 1 after it. quantiles: how many of them."""

    day: date
    days: int = 1
    quantiles: int = USUAL_QUANTILES
    explained: bool = False


@dataclass(frozen=True, eq=False)
class AskedWhatIf:
    """An order for one local day under the caller's temperatures. temperatures_c: one for each interval; base_c: those that
    the forecast itself rests on, of the same shape; strange: refused as implausible, or nearly.
    """

    day: date
    temperatures_c: Array
    base_c: Array
    quantiles: int = USUAL_QUANTILES
    strange: bool = False


async def ask(house: House, request: Request, caller: Identity, question: AskedForecast | AskedWhatIf) -> Verdict:
    """Charge an order, and wait where the caller is slowed; the verdict says how to answer.

    Raises RateLimited for its size, QueryBlocked, ChallengeRequired, UnavailableError when a store is away.
    """
    cost = cost_of(question)
    if cost > 1:
        await house.limiter.charge(f"subject {caller.subject}", cost - 1)
    newest = _newest_day(house.serving.readings.demand.index[-1], house.serving.readings.utility.zone)
    issued_at = caller.issued_at.timestamp() if caller.issued_at and caller.method == "token" else 0.0
    verdict = await house.query_guard.judge(caller.subject, caller.role, issued_at, question_of(question, newest))
    house.metrics.guarded(verdict.level.name.lower())
    if verdict.news:
        await run_in_threadpool(_tell, house, caller, verdict)
        house.query_guard.told(caller.subject, verdict.standing)
    if verdict.level:
        account(request, guard=verdict.level.name.lower(), guard_why=verdict.standing.why)
    verdict.require_answerable(caller.subject)
    if verdict.delay_seconds:
        await anyio.sleep(verdict.delay_seconds)
    return verdict


def watermark(house: House, caller: Identity, day: date) -> bytes:
    """What the answers to this caller of a local day bear: of the further days of an order, each has its own."""
    return house.query_guard.watermark(caller.subject, mark_name(day))


def cost_of(question: AskedForecast | AskedWhatIf) -> int:
    """What an order costs of the caller's rate budget: days × (started) nine quantiles × 2 if explained."""
    nines = -(-question.quantiles // USUAL_QUANTILES)
    if isinstance(question, AskedWhatIf):
        return nines
    return question.days * nines * (EXPLAINED_COSTS if question.explained else 1)


def question_of(question: AskedForecast | AskedWhatIf, newest: date) -> Question:
    """The order as the query guard sees it. newest: the last local day that can be forecast."""
    mark, recent = mark_name(question.day), question.day > newest - timedelta(days=RECENT_DAYS)
    if isinstance(question, AskedForecast):
        digest = hashlib.sha256(b"forecast %d" % question.day.toordinal()).digest()
        cells = {} if recent else {PAST: tuple(f"{question.day}+{ahead}" for ahead in range(question.days))}
        return Question(digest, mark, cells)
    departure_c = question.temperatures_c - question.base_c
    path = packed(question.day.toordinal(), departure_c)
    alike = f"{question.day}:{_rounded(_means(departure_c, PARTS), CELL_C)}"
    own = hashlib.sha256(path).hexdigest()[:16]
    if recent:
        cells = {NEAR: (own,)}
    else:
        cells = {REGION: (f"{question.day}:{_rounded(_means(departure_c, 1), REGION_C)}",), CELL: (own,)}
    return Question(hashlib.sha256(alike.encode()).digest(), mark, cells, path, question.strange)


def _tell(house: House, caller: Identity, verdict: Verdict) -> None:
    with transaction(house.serving.station.engine) as session:
        enter_standing(session, caller.subject, caller.role, verdict.standing, house.clock())


def _means(values: Array, parts: int) -> Array:
    """Means of `parts` parts of the day."""
    bounds = np.arange(parts) * len(values) // parts
    return np.add.reduceat(values, bounds) / np.diff(np.append(bounds, len(values)))


def _rounded(values: Array, step: float) -> str:
    return ",".join(str(int(value)) for value in np.rint(values / step))


@lru_cache(maxsize=8)
def _newest_day(last_demand: pd.Timestamp, zone: str) -> date:
    """The day after the last one with demand."""
    return last_demand.tz_convert(zone).date() + timedelta(days=1)
