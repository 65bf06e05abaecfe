"""Watch: the providers against each other and against demand, and the forecasts against what was drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from data.lake.tables import FLAGS
from data.meters import demand_as_of
from data.schema import ISSUED_AT, PROVIDER, VALID_AT, Array, Integers, Utility
from data.trust.readings import UNUSABLE, Flag
from data.trust.standing import LED_BY_OPERATOR, TrustEvent, TrustState
from data.trust.watch import WeatherWatch
from data.weather_fusion import known_at, known_at_gate_closures
from forecasting.drift import DriftAlarm, cusum, first_alarm
from forecasting.forecaster import FORECAST_MW
from pipeline.database import transaction
from pipeline.ingest import Readings, keep_flags
from pipeline.provider_standings import StandingEvent, decisions, record_events
from pipeline.station import Station, note

# From the lightest to the gravest.
STANDINGS: tuple[TrustState, ...] = ("trusted", "suspect", "probation", "quarantined", "revoked")
# What lies on the way to a standing, for the watch that has not itself found what the other one has.
BETWEEN: Mapping[TrustState, tuple[TrustState, ...]] = {"probation": ("quarantined",), "trusted": ("probation",)}


@dataclass(frozen=True)
class Judgement:
    """Every change of standing, in order; evidence against each provider on the last judged day, 10 accuses; values that
    levels 1 and 2 forbid to use, as `pipeline.ingest.keep_flags` keeps them.
    """

    events: tuple[TrustEvent, ...]
    scores: Mapping[str, float]
    flagged: pd.DataFrame


NOTHING = Judgement((), {}, pd.DataFrame({PROVIDER: [], VALID_AT: pd.DatetimeIndex([], tz="UTC"), FLAGS: []}))


def judge_providers(readings: Readings, until: pd.Timestamp, decided: Sequence[TrustEvent] = ()) -> list[TrustEvent]:
    """Every change of standing that the weather watch finds, in order; as `judge`."""
    return list(judge(readings, until, decided).events)


def judge(readings: Readings, until: pd.Timestamp, decided: Sequence[TrustEvent] = ()) -> Judgement:
    """The weather watch over every local day that ended by `until` (UTC); decided: what operators decided, in order.

    Once over the last word on each interval, with demand as witness, and once over what had been forecast of it by its gate
    closure. Who is quarantined by the first is not heard in the second; of the two standings the graver counts. Each event
    rests on rows before it only. The rows are those known at `until`: what came in late counts as said in time.
    """
    utility = readings.utility
    known = readings.weather[readings.weather[ISSUED_AT] <= until]
    if known.empty:
        return NOTHING
    first, today = (_midnight(moment, utility) for moment in (known[VALID_AT].min(), until))
    if today <= first:
        return NOTHING
    index = pd.date_range(first, today, freq=utility.step, inclusive="left", unit="us")
    demand_mw = demand_as_of(readings.demand, until).reindex(index).to_numpy(dtype=np.float64)
    measured = _watched(known_at(known, until, index[0], index[-1], utility.step), utility, decided, demand_mw)
    left_out = [event for event in measured.events if event.to_state == "quarantined"]
    acts = sorted([*left_out, *decided], key=lambda event: event.at)
    forecast = _watched(known_at_gate_closures(known, utility, index), utility, acts)
    return Judgement(
        events=_graver({"measured": measured.events, "forecast": forecast.events}, decided),
        scores={name: max(score, forecast.scores.get(name, 0.0)) for name, score in measured.scores.items()},
        flagged=measured.flagged,
    )


def _midnight(moment: pd.Timestamp, utility: Utility) -> pd.Timestamp:
    return utility.day_index(moment.tz_convert(utility.zone).date())[0]


def _watched(wide: pd.DataFrame, utility: Utility, acts: Sequence[TrustEvent], demand_mw: Array | None = None) -> Judgement:
    """Watch `wide`, one column a provider [°C], on whole local days; each act holds from its moment on."""
    heard = wide.dropna(axis="columns", how="all")
    names, index = [str(name) for name in heard.columns], pd.DatetimeIndex(heard.index)
    if not names:
        return NOTHING
    readings = heard.to_numpy(dtype=np.float64)
    watch = WeatherWatch(names, utility.timezone, utility.step)
    events: list[TrustEvent] = []
    scores: Array = np.zeros(len(names))
    flags: list[Integers] = []
    done = 0
    for act in [*(act for act in acts if act.provider in names), None]:
        stop = len(index) if act is None else max(int(index.searchsorted(act.at)), done)
        if stop > done:
            demand = None if demand_mw is None else demand_mw[done:stop]
            progress = watch.advance(index[done:stop], readings[done:stop], demand)
            events += progress.events
            flags.append(progress.flags)
            scores = progress.days[-1].scores if progress.days else scores
            done = stop
        if act is not None:
            _lead(watch, act)
    last = dict(zip(names, np.nan_to_num(scores).tolist(), strict=True))
    return Judgement(tuple(events), last, _flagged(index, names, np.concatenate(flags)))


def _flagged(index: pd.DatetimeIndex, names: Sequence[str], flags: Integers) -> pd.DataFrame:
    rows, columns = np.nonzero(flags & int(UNUSABLE & ~Flag.MISSING))
    return pd.DataFrame(
        {PROVIDER: np.array(names, dtype=object)[columns], VALID_AT: index[rows], FLAGS: flags[rows, columns]}
    )


def _lead(watch: WeatherWatch, act: TrustEvent) -> None:
    """Bring this watch's standing of a provider to what was decided of it, by allowed steps from where it stands here."""
    for to_state in (*BETWEEN.get(act.to_state, ()), act.to_state):
        if to_state in LED_BY_OPERATOR[watch.standings[watch.names.index(act.provider)]]:
            watch.set_standing(act.provider, to_state, act.at, act.reason, act.onset)


def _graver(found: Mapping[str, Sequence[TrustEvent]], decided: Sequence[TrustEvent]) -> tuple[TrustEvent, ...]:
    """One standing a provider, the graver of what each kind of value earned it; decisions stand for all kinds."""
    everything = [(event, kind) for kind, events in found.items() for event in events] + [(act, "") for act in decided]
    standings: dict[str, dict[str, TrustState]] = {}
    events = []
    for event, kind in sorted(everything, key=lambda pair: pair[0].at):
        by_kind = standings.setdefault(event.provider, dict.fromkeys(found, "trusted"))
        before = max(by_kind.values(), key=STANDINGS.index)
        by_kind.update(dict.fromkeys([kind] if kind else found, event.to_state))
        after = max(by_kind.values(), key=STANDINGS.index)
        if kind and after != before:
            events.append(replace(event, from_state=before, to_state=after, reason=f"{kind}: {event.reason}"))
    return tuple(events)


def keep_watch(station: Station, readings: Readings, until: pd.Timestamp) -> list[StandingEvent]:
    """Judge from where the operators' decisions left it; enter what is new in the standings and the audit log, and keep the
    flags.
    """
    with transaction(station.engine) as session:
        decided = decisions(session)
    judgement = judge(readings, until, decided)
    keep_flags(station, judgement.flagged, until.to_pydatetime())
    with transaction(station.engine) as session:
        fresh = record_events(session, judgement.events)
    for event in fresh:
        note_standing(station, event)
    return fresh


def note_standing(station: Station, event: StandingEvent) -> None:
    """Write a change of standing to the audit log, with its evidence."""
    evidence = {"from": event.from_state, "level": event.level, "statistic": event.statistic, "reason": event.reason}
    details = evidence | {"onset": event.onset.isoformat()}
    action = f"provider.{event.to_state}"
    note(station, actor=event.by, action=action, subject=event.provider, details=details, at=event.at)


def daily_error_percent(actual_mw: pd.Series, forecasts: pd.DataFrame, utility: Utility) -> pd.Series:
    """Signed error of each local day's energy [% of demand]; index: naive local dates."""
    paired = pd.DataFrame({"forecast": forecasts[FORECAST_MW], "actual": actual_mw.reindex(forecasts.index)}).dropna()
    day = utility.local(pd.DatetimeIndex(paired.index)).tz_localize(None).normalize()
    totals = paired.groupby(day).sum()
    return (totals["forecast"] - totals["actual"]) / totals["actual"].abs() * 100


def forecast_alarm(error_percent: pd.Series, learn_until: pd.Timestamp) -> tuple[pd.DataFrame, DriftAlarm | None]:
    """The CUSUM of forecast against actual, and its first alarm."""
    sums = cusum(error_percent, learn_until)
    return sums, first_alarm(sums, learn_until)
