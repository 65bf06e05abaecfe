"""What one caller may learn: budgets of what is new to it, by the day and by the month, alone and with its whole role.

Counting questions is not enough: a dashboard asks one question ten thousand times and learns one answer, a thief asks
two thousand different ones and owns the model (AML.T0024.002, extraction by queries). So each question is placed in the
cells of the input space it touches. A cell that was touched before costs nothing, a new one costs by its kind.

Everything is kept as sets in the shared state: several workers count as one, and repeats count once, in one round trip.
A month is the running ten days and the three times ten before them: 30 to 40 days. A cell is put into the set of each month
that it lies in, and the oldest of these is read: a cell that is touched again and again counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from security.shared_state import AddToSet, Delete, Increment, SetSize, Step

DAY_SECONDS = 86_400
BUCKET_SECONDS = 10 * DAY_SECONDS
BUCKETS = 4
MONTH_SECONDS = BUCKETS * BUCKET_SECONDS


@dataclass(frozen=True)
class Limits:
    """How much may be learned. weights: what a new cell of each kind costs; a_day, a_month: one caller's budgets;
    role_a_month: what all callers of a role may learn of the kinds in `explores` before their own budgets of these
    shrink, down to least_a_month: several accounts of one thief are seen together (Sybil).
    """

    weights: Mapping[str, float]
    explores: frozenset[str]
    a_day: float
    a_month: float
    role_a_month: float
    least_a_month: float


@dataclass(frozen=True)
class Learned:
    """What was learned, in shares of the budgets: 1 is all of it. what: the budget that is used most, for people."""

    share: float
    what: str


def windows_of(now: float) -> tuple[str, tuple[str, ...]]:
    """The names of this day and of the months that it lies in, the first to begin at the end. now: seconds since 1970."""
    bucket = int(now // BUCKET_SECONDS)
    return f"d{int(now // DAY_SECONDS)}", tuple(f"m{bucket - ago}" for ago in range(BUCKETS))


def touch(subject: str, role: str, cells: Mapping[str, tuple[str, ...]], limits: Limits, now: float) -> list[Step]:
    """Steps that put `cells` (kind → cells touched) into the caller's and its role's sets, then read their sizes.

    `learned_of` reads what they answer.
    """
    day, months = windows_of(now)
    adding: list[Step] = []
    reading: list[Step] = []
    for kind in limits.weights:
        owners = [_own(subject, kind)] + [_of_role(role, kind)] * (kind in limits.explores)
        if touched := cells.get(kind):
            adding.append(AddToSet(f"{owners[0]}:{day}", touched, 2 * DAY_SECONDS))
            adding += [AddToSet(f"{owner}:{month}", touched, MONTH_SECONDS) for owner in owners for month in months]
        reading.append(SetSize(f"{owners[0]}:{day}"))
        reading += [SetSize(f"{owner}:{months[-1]}") for owner in owners]
    return adding + reading


def learned_of(answers: Sequence[Any], limits: Limits) -> Learned:
    """What the caller has learned. answers: what the state says to the steps of `touch`."""
    sizes = iter(answers[-sum(2 + (kind in limits.explores) for kind in limits.weights) :])
    today = month = explored = by_role = 0.0
    for kind, weight in limits.weights.items():
        today += weight * next(sizes)
        own = weight * next(sizes)
        month += own
        if kind in limits.explores:
            explored += own
            by_role += weight * next(sizes)
    pressure = max(1.0, by_role / limits.role_a_month)
    shares = {
        "of the day's budget": today / limits.a_day,
        "of the month's budget": month / limits.a_month,
        "of what may be explored while others of the role explore as well": (
            explored / max(limits.least_a_month, limits.a_month / pressure)
        ),
    }
    what = max(shares, key=lambda name: shares[name])
    return Learned(shares[what], what)


def forget(subject: str, limits: Limits, now: float) -> list[Step]:
    """Steps that give the caller its whole budget back."""
    day, months = windows_of(now)
    return [Delete(f"{_own(subject, kind)}:{window}") for kind in limits.weights for window in (day, *months)]


def suspicion(subject: str, amount: float, now: float) -> Increment:
    """The step that adds to, and reads, the share of the budget that odd sequences have cost; forgotten with the bucket."""
    return Increment(f"guard:{subject}:odd:{windows_of(now)[1][0]}", amount, MONTH_SECONDS)


def forgive(subject: str, now: float) -> list[Step]:
    """Steps that forget odd sequences."""
    return [Delete(f"guard:{subject}:odd:{window}") for window in windows_of(now)[1]]


def _own(subject: str, kind: str) -> str:
    return f"guard:{subject}:{kind}"


def _of_role(role: str, kind: str) -> str:
    return f"guard-role:{role}:{kind}"
