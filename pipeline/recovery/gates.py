"""What a recovered model has to pass before it serves: three questions, each with its limit and what was found.

    backtest    is the recipe as good as what was served? Over the last 28 days, by a model that has seen none of them
    mild hours  does it still order too much, or too little, in the hours the incident is told in?
    golden      does the sealed bundle, opened from disk, answer what the fitted model answered in memory?

A question that cannot be asked is `not judged`, with the reason; it holds nothing up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
import pandas as pd

from data.schema import DEMAND_MW, TEMPERATURE_C, Array, is_mild
from data.snapshots import Snapshot, restore
from data.weather_fusion import Exclusion
from forecasting.forecaster import QUANTILE_COLUMNS
from forecasting.metrics import bias_percent, mape_percent
from pipeline import registry
from pipeline.database import transaction
from pipeline.ingest import Readings
from pipeline.provider_standings import exclusions_at
from pipeline.publish import open_model
from pipeline.recovery.golden import Golden, answers_of
from pipeline.recovery.plan import RecoveryPlan
from pipeline.recovery.served_again import Served, serve_again
from pipeline.station import Station
from security.errors import GridwardError
from security.keyring import trusted_keys

Verdict = Literal["passed", "failed", "not judged"]

BACKTEST_TOLERANCE = 1.10
FEWEST_MILD_INTERVALS = 48
MILD_BIAS_PERCENT = 1.5
GOLDEN_TOLERANCE = 1e-9
DEMAND_RANGE = (0.5, 2.0)


@dataclass(frozen=True)
class Gate:
    """One question. limit, found: in the unit its `asks` names, None where it was not judged; why: a sentence."""

    name: str
    asks: str
    limit: float | None
    found: float | None
    verdict: Verdict
    why: str


def gates_to_json(gates: Sequence[Gate]) -> str:
    """As the journal keeps them."""
    return json.dumps([asdict(gate) for gate in gates])


def gates_from_json(text: str) -> tuple[Gate, ...]:
    """As they were written by `gates_to_json`."""
    content: list[dict[str, Any]] = json.loads(text)
    return tuple(Gate(**gate) for gate in content)


def judge(
    station: Station, readings: Readings, plan: RecoveryPlan, model_id: str, golden: Golden
) -> tuple[tuple[Gate, ...], str]:
    """Ask all three; answers the gates and the id of the model in service that the candidate was held against."""
    with transaction(station.engine) as session:
        excluded = exclusions_at(session, plan.at)
        record = session.get_one(registry.ModelRecord, model_id)
        against = registry.active_id(session)
        trusted = trusted_keys(session, "snapshot")
    learned = restore(station.snapshots, record.snapshot_id, trusted)
    served = serve_again(station, readings, plan.order, excluded, against)
    if isinstance(served, str):
        compared = (_not_judged("backtest", _BACKTEST, served), _not_judged("mild hours", _MILD, served))
    else:
        compared = (backtest_gate(served, learned.training), mild_gate(served, learned.training))
    return (*compared, golden_gate(station, readings, excluded, model_id, golden, learned)), against


_BACKTEST = "MAPE of the recipe over the days before, in percent"
_MILD = "bias of the recipe in mild hours of these days, in percent"
_GOLDEN = "relative difference between the bundle on disk and the model in memory"


def backtest_gate(served: Served, training: pd.DataFrame) -> Gate:
    """The recipe's MAPE may exceed that of what was in service by a tenth of it."""
    actual = training[DEMAND_MW]
    found, other = mape_percent(actual, served.recipe), mape_percent(actual, served.in_service)
    if not np.isfinite([found, other]).all():
        return _not_judged("backtest", _BACKTEST, "demand is never positive in these days, so MAPE is undefined")
    limit = other * BACKTEST_TOLERANCE
    why = f"{found:.2f} over {served.days} days, {other:.2f} in service, {limit:.2f} allowed"
    return Gate("backtest", _BACKTEST, limit, found, "passed" if found <= limit else "failed", why)


def mild_gate(served: Served, training: pd.DataFrame) -> Gate:
    """The recipe's bias in mild hours is small, or no greater than that of what was in service.

    Mild by the fused temperature that the candidate learned from, not by what the refused provider says.
    """
    mild = training.index[is_mild(training[TEMPERATURE_C])]
    recipe, in_service = (frame.loc[frame.index.isin(mild)] for frame in (served.recipe, served.in_service))
    if len(recipe) < FEWEST_MILD_INTERVALS:
        why = f"only {len(recipe)} mild intervals in {served.days} days, {FEWEST_MILD_INTERVALS} are needed"
        return _not_judged("mild hours", _MILD, why)
    found, other = (bias_percent(training[DEMAND_MW], frame) for frame in (recipe, in_service))
    limit = max(MILD_BIAS_PERCENT, abs(other))
    why = f"{found:+.2f} over {len(recipe)} mild intervals, {other:+.2f} in service, {limit:.2f} either way allowed"
    return Gate("mild hours", _MILD, limit, found, "passed" if abs(found) <= limit else "failed", why)


def golden_gate(
    station: Station,
    readings: Readings,
    excluded: Mapping[str, Exclusion],
    model_id: str,
    golden: Golden,
    learned: Snapshot,
) -> Gate:
    """The verified bundle answers what the model in memory did, and nothing outlandish."""
    if not golden:
        return _not_judged("golden", _GOLDEN, "no day around the end of training can be forecast")
    days = [date.fromisoformat(day) for day in golden]
    try:
        told = answers_of(readings, open_model(station, model_id), excluded, days)
    except GridwardError as error:
        return Gate("golden", _GOLDEN, GOLDEN_TOLERANCE, None, "failed", str(error))
    if told.keys() != golden.keys():
        return Gate("golden", _GOLDEN, GOLDEN_TOLERANCE, None, "failed", "a day is not answered any more")
    wanted, answered = (_stacked(answers) for answers in (golden, told))
    if wanted.shape != answered.shape:
        return Gate("golden", _GOLDEN, GOLDEN_TOLERANCE, None, "failed", "the bundle answers other intervals")
    apart = float(np.max(np.abs(answered - wanted) / np.maximum(np.abs(wanted), 1.0)))
    problem = _outlandish(answered, learned.training[DEMAND_MW])
    # Written so that NaN fails too.
    if not problem and not apart <= GOLDEN_TOLERANCE:
        problem = f"the bundle answers otherwise than the model did, by {apart:.1e}"
    why = problem or f"{len(days)} days answered alike, in order and within the range of demand"
    found = apart if np.isfinite(apart) else None
    return Gate("golden", _GOLDEN, GOLDEN_TOLERANCE, found, "failed" if problem else "passed", why)


def _stacked(answers: Golden) -> Array:
    """Shape (intervals, columns), the columns in the order of `QUANTILE_COLUMNS`."""
    return np.vstack([np.column_stack([answer[name] for name in QUANTILE_COLUMNS]) for answer in answers.values()])


def _outlandish(answered: Array, demand_mw: pd.Series) -> str:
    """What no forecast of this demand may be; empty when it is none of it."""
    least, most = float(demand_mw.min()), float(demand_mw.max())
    # Demand that solar feeds below zero has no smallest share of itself.
    low = DEMAND_RANGE[0] * least if least > 0 else least - (most - least)
    high = DEMAND_RANGE[1] * most
    if not np.isfinite(answered).all():
        return "a forecast is not finite"
    if (np.diff(answered, axis=1) < 0).any():
        return "quantiles are out of order"
    if answered.min() < low or answered.max() > high:
        return f"a forecast lies outside {low:,.0f} to {high:,.0f} MW"
    return ""


def _not_judged(name: str, asks: str, why: str) -> Gate:
    return Gate(name, asks, None, None, "not judged", why)
