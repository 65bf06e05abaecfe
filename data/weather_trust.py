"""Is a provider to be believed? In levels, each resting on the one before.

    0  authentic    an active key of that provider signed these bytes; not seen before; not from the future   (AML.T0010.002)
    1  valid        the documented format, within physics, of its time: nothing may rewrite the past          (ML01)
    3  agreeing     no slow drift from what the other providers say                                           (AML.T0020)

Level 3. On every day, what a provider measured, and separately what it forecast for the next day, is compared with the
median of the other trusted ones, its usual bias taken off. The daily mean differences are prewhitened (AR(1) learned on the
baseline), scaled, and summed by a two-sided CUSUM (Page 1954; Montgomery, "Statistical Quality Control", ch. 9). Half the
threshold makes a provider suspect; the threshold quarantines the one that stands out most, and the others are judged anew
without it. The onset is where the alarming sum last left zero.

Levels 2 and 4 (consistency in itself, demand as a witness) are the next issue's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import numpy as np
import pandas as pd
from sqlmodel import Session

from data.errors import ReportRefused
from data.schema import Array, Flags, Utility
from data.weather_fusion import MAD_TO_SIGMA, Profiles, without_bias
from data.weather_providers import ReportContent, UnverifiedReport, VerifiedReport, decode
from security.errors import KeyringError, SignatureInvalid
from security.keyring import require_active
from security.signing import verify_bytes

TrustState = Literal["trusted", "suspect", "quarantined", "revoked"]

CLOCK_TOLERANCE = timedelta(minutes=5)
CUSUM_ALLOWANCE = 0.75
CUSUM_THRESHOLD = 12.0
FEWEST_SOURCES = 3
FEWEST_BASELINE_DAYS = 14
LONGEST_LOOK_BACK = timedelta(days=8)


@dataclass(frozen=True)
class TrustEvent:
    """One change of a provider's standing. at: gate closure when it was decided; onset: since when it drifts (UTC)."""

    provider: str
    at: pd.Timestamp
    from_state: TrustState
    to_state: TrustState
    level: int
    reason: str
    onset: pd.Timestamp
    statistic: float


@dataclass(frozen=True)
class Baseline:
    """Centre, memory and scale of a stream of daily differences, learned where every provider was trusted."""

    centre: float
    memory: float
    scale: float


# A provider without a past is held to what the others say, within about a degree.
NEWCOMER = Baseline(centre=0.0, memory=0.0, scale=1.0)


@dataclass
class _Stream:
    """The running sums of one provider and one kind of value; `…_since`: the last day a sum was zero."""

    baseline: Baseline
    high_since: int
    low_since: int
    high: float = 0.0
    low: float = 0.0
    previous: float = 0.0

    def take(self, difference: float, day: int) -> None:
        whitened = (difference - self.baseline.centre) - self.baseline.memory * self.previous
        self.previous = difference - self.baseline.centre
        score = whitened / self.baseline.scale
        self.high = max(0.0, self.high + score - CUSUM_ALLOWANCE)
        self.low = max(0.0, self.low - score - CUSUM_ALLOWANCE)
        self.high_since = day if self.high == 0 else self.high_since
        self.low_since = day if self.low == 0 else self.low_since

    @property
    def statistic(self) -> float:
        return max(self.high, self.low)

    @property
    def since(self) -> int:
        return self.high_since if self.high >= self.low else self.low_since

    def forget(self) -> None:
        self.high = self.low = 0.0


@dataclass
class _Standing:
    state: TrustState = "trusted"
    streams: dict[str, _Stream] = field(default_factory=dict)

    @property
    def statistic(self) -> float:
        return max(stream.statistic for stream in self.streams.values())

    @property
    def loudest(self) -> tuple[str, _Stream]:
        return max(self.streams.items(), key=lambda item: item[1].statistic)


def verify_report(session: Session, report: UnverifiedReport, seen_digests: Collection[str]) -> VerifiedReport:
    """Levels 0 and 1, in that order, on the same bytes. Raises ReportRefused with reason `unauthentic`, `revoked`,
    `replayed`, `invalid`, `misattributed`, `from_the_future` or `too_old`.
    """
    digest = hashlib.sha256(report.payload).hexdigest()
    try:
        key = require_active(session, report.key_id, "provider", report.provider)
    except KeyringError as error:
        raise _refused(report, "revoked", f"its key is not accepted: {error.problem}") from error
    try:
        verify_bytes(report.payload, report.signature, key)
    except SignatureInvalid as error:
        raise _refused(report, "unauthentic", "the signature is not of its key") from error
    if digest in seen_digests:
        raise _refused(report, "replayed", "this very report was delivered before")
    content = decode(report.payload, report.provider)
    if content.provider != report.provider:
        raise _refused(report, "misattributed", f"signed as {report.provider}, written as {content.provider}")
    _require_timely(report, content)
    return VerifiedReport(report.provider, report.key_id, report.received_at, digest, content)


def _require_timely(report: UnverifiedReport, content: ReportContent) -> None:
    """A provider speaks of now: the baseline that it is judged by cannot be rewritten later (AML.T0020)."""
    if content.issued_at > report.received_at + CLOCK_TOLERANCE:
        raise _refused(report, "from_the_future", f"issued at {content.issued_at}, received at {report.received_at}")
    oldest = min(content.issued_at, content.observed_from, content.forecast_from)
    if oldest < report.received_at - LONGEST_LOOK_BACK:
        raise _refused(report, "too_old", f"speaks of {oldest}, received at {report.received_at}")


def _refused(report: UnverifiedReport, reason: str, problem: str) -> ReportRefused:
    return ReportRefused(problem, provider=report.provider, reason=reason, mend="ask the provider; the report is kept")


def watch(
    kinds: Mapping[str, pd.DataFrame], profiles: Profiles, utility: Utility, baseline_end: pd.Timestamp
) -> list[TrustEvent]:
    """Level 3 over a whole history: every change of standing, each decided from what came before it only.

    kinds: `measured` and `forecast`, each a frame with one column a provider [°C] on one UTC index; a day of it is judged
    at that day's end. baseline_end: until then every provider is trusted, and streams are learned.
    """
    corrected = {kind: without_bias(wide, profiles, utility) for kind, wide in kinds.items()}
    index = pd.DatetimeIndex(next(iter(corrected.values())).index)
    days, day_of_row = _local_days(index, utility)
    first_judged = int(days.searchsorted(baseline_end.tz_convert(utility.zone).tz_localize(None)))
    names = [str(name) for name in next(iter(kinds.values())).columns]
    blocks = {
        kind: _by_day(wide[names].to_numpy(dtype=np.float64), day_of_row, len(days)) for kind, wide in corrected.items()
    }
    standings = {name: _Standing() for name in names}
    for kind, block in blocks.items():
        everybody = np.ones(len(names), dtype=bool)
        history = np.array([_differences(block[day], everybody) for day in range(first_judged)]).reshape(-1, len(names))
        for number, name in enumerate(names):
            standings[name].streams[kind] = _Stream(_learn_baseline(history[:, number]), first_judged, first_judged)
    events: list[TrustEvent] = []
    for day in range(first_judged, len(days)):
        heard = np.array([standings[name].state in ("trusted", "suspect") for name in names])
        if heard.sum() < FEWEST_SOURCES:
            break
        _hear_day(day, blocks, standings, names, heard)
        judged = {name: standings[name] for name, is_heard in zip(names, heard, strict=True) if is_heard}
        events += _decide(day, days, utility, judged, standings)
    return events


def _hear_day(
    day: int,
    blocks: Mapping[str, list[Array]],
    standings: Mapping[str, _Standing],
    names: list[str],
    heard: Flags,
) -> None:
    for kind, block in blocks.items():
        differences = _differences(block[day], heard)
        for number, name in enumerate(names):
            if heard[number] and np.isfinite(differences[number]):
                standings[name].streams[kind].take(float(differences[number]), day)


def _decide(
    day: int,
    days: pd.DatetimeIndex,
    utility: Utility,
    heard: Mapping[str, _Standing],
    standings: Mapping[str, _Standing],
) -> list[TrustEvent]:
    events = []
    worst = max(heard, key=lambda name: heard[name].statistic)
    for name, standing in heard.items():
        if name == worst and standing.statistic >= CUSUM_THRESHOLD:
            new: TrustState = "quarantined"
        elif standing.statistic >= CUSUM_THRESHOLD / 2:
            new = "suspect"
        else:
            new = "trusted"
        if new != standing.state:
            events.append(_event(name, standing, new, day, days, utility))
            standing.state = new
    if standings[worst].state == "quarantined":
        for standing in standings.values():
            for stream in standing.streams.values():
                stream.forget()
    return events


def _event(
    name: str, standing: _Standing, new: TrustState, day: int, days: pd.DatetimeIndex, utility: Utility
) -> TrustEvent:
    kind, stream = standing.loudest
    side = "above" if stream.high >= stream.low else "below"
    onset = days[stream.since].date()
    return TrustEvent(
        provider=name,
        at=utility.day_index(days[day].date())[-1] + utility.step,
        from_state=standing.state,
        to_state=new,
        level=3,
        reason=f"{kind} temperatures drift {side} the other providers"
        if new != "trusted"
        else "agrees with the other providers again",
        onset=utility.day_index(onset)[0],
        statistic=round(standing.statistic, 2),
    )


def _local_days(index: pd.DatetimeIndex, utility: Utility) -> tuple[pd.DatetimeIndex, Array]:
    midnight = utility.local(index).tz_localize(None).normalize()
    days = pd.DatetimeIndex(midnight.unique())
    return days, np.asarray(days.get_indexer(midnight))


def _by_day(values: Array, day_of_row: Array, days: int) -> list[Array]:
    edges = np.searchsorted(day_of_row, np.arange(1, days))
    return list(np.split(values, edges))


def _differences(day: Array, heard: Flags) -> Array:
    """Mean difference of each provider from the median of the other heard ones [°C]; NaN where there is nothing."""
    answer = np.full(day.shape[1], np.nan)
    for number in range(day.shape[1]):
        others = heard.copy()
        others[number] = False
        rows = np.isfinite(day[:, number]) & np.isfinite(day[:, others]).any(axis=1)
        if rows.any():
            answer[number] = np.mean(day[rows, number] - _median_of_rows(day[rows][:, others]))
    return answer


def _median_of_rows(values: Array) -> Array:
    """Median of each row, missing values left out; several times faster on small blocks than numpy's nanmedian."""
    count = np.isfinite(values).sum(axis=1)
    ordered = np.sort(values, axis=1)  # missing values last
    row = np.arange(len(values))
    return np.asarray((ordered[row, (count - 1) // 2] + ordered[row, count // 2]) / 2)


def _learn_baseline(history: Array) -> Baseline:
    clean = history[np.isfinite(history)]
    if len(clean) < FEWEST_BASELINE_DAYS:
        return NEWCOMER
    centre = float(np.median(clean))
    deviation = clean - centre
    moves = np.std(deviation[1:]) > 0 and np.std(deviation[:-1]) > 0
    memory = float(np.clip(np.corrcoef(deviation[1:], deviation[:-1])[0, 1], 0.0, 0.9)) if moves else 0.0
    whitened = deviation[1:] - memory * deviation[:-1]
    scale = float(np.median(np.abs(whitened)) * MAD_TO_SIGMA)
    return Baseline(centre, memory, max(scale, 0.05))
