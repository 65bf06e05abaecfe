"""What long work there is: train anew, recover, try a forecaster on the past. Each kind is a function of its order.

Killed at any point and begun again, each ends in the same state: training is dated by the job, so that the same readings
lead to the same model; a recovery goes on by its journal; a backtest changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from data.schema import PROVIDER, VALID_AT
from pipeline import backtest
from pipeline.database import transaction
from pipeline.ingest import Readings, load_readings
from pipeline.job_records import JobRecord
from pipeline.provider_standings import exclusions_at
from pipeline.readmit import require_provider
from pipeline.recover import retrain_clean, training_end
from pipeline.recovery.plan import RecoveryRequest
from pipeline.recovery.run import recover
from pipeline.serving import Serving
from pipeline.train import TrainingOrder
from pipeline.weather_policy import WeatherPolicy

RETRAIN, RECOVER, BACKTEST = "retrain", "recover", "backtest"
PREDICTIONS = "predictions.parquet"
# What is being done once a recovery reached a state, and the share of it that is behind.
STAGES: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        "planned": ("revoking", 0.1),
        "revoked": ("training", 0.2),
        "trained": ("asking the gates", 0.7),
        "judged": ("promoting", 0.9),
        "promoted": ("finishing", 0.95),
        "done": ("taking the model up", 0.98),
    }
)

Told = Callable[[str, float], None]


@dataclass(frozen=True)
class Task:
    """A job under way. told: called with a stage and the share done; folder: for files that result."""

    serving: Serving
    job: JobRecord
    told: Told
    folder: Path

    @property
    def order(self) -> dict[str, Any]:
        """What was asked for."""
        order: dict[str, Any] = json.loads(self.job.asked)
        return order


@dataclass(frozen=True)
class Kind:
    """work: does the job and answers its result, anything JSON; alone: it changes which model runs, so one at a time."""

    work: Callable[[Task], Mapping[str, Any]]
    alone: bool


def retrain(task: Task) -> dict[str, Any]:
    """Train from the last clean backup and what came later, publish, and serve the new model where it may be.

    Raises as `pipeline.recover.retrain_clean` and `Serving.reload`.
    """
    serving, order, by = task.serving, task.order, task.job.requested_by
    task.told("reading what was taken in", 0.0)
    readings = load_readings(serving.station)
    as_of = training_end(readings, task.job.dated, _day(order.get("as_of_day")))
    policy = WeatherPolicy.parse(order["weather_policy"])
    task.told("training", 0.1)
    record, clean = retrain_clean(serving.station, readings, TrainingOrder(policy, as_of, task.job.dated, by))
    task.told("taking the model up", 0.95)
    return {
        "model": record.model_dump(mode="json"),
        "clean_snapshot": "" if clean is None else clean.snapshot_id,
        "active_model_id": serving.reload(by=by),
    }


def recover_from(task: Task) -> dict[str, Any]:
    """Recover from a provider that lies, or go on with the recovery that was begun, and serve the model.

    Raises as `pipeline.recovery.run.recover` and `Serving.reload`.
    """
    serving = task.serving
    task.told("looking for the onset", 0.0)
    report = recover(
        serving.station,
        load_readings(serving.station),
        recovery_request(task.order, task.job.requested_by),
        clock=serving.clock,
        reached=lambda state: task.told(*STAGES[state]),
    )
    return {
        "recovery_id": report.plan.recovery_id,
        "model_id": report.model_id,
        "onset": report.plan.onset.isoformat(),
        "clean_snapshot": report.plan.clean_snapshot,
        "gates": [vars(gate) for gate in report.gates],
        "withdrawn": list(report.withdrawn),
        "seconds": report.seconds,
        "active_model_id": serving.reload(by=task.job.requested_by),
    }


def recovery_request(order: Mapping[str, Any], by: str) -> RecoveryRequest:
    """The recovery that an order asks for."""
    return RecoveryRequest(
        provider=order["provider"],
        by=by,
        reason=order["reason"],
        since=order["since"],
        as_of_day=_day(order.get("as_of_day")),
        seed=order["seed"],
    )


def try_on_the_past(task: Task) -> dict[str, Any]:
    """Backtest a forecaster on the station's own readings; the forecasts are left in a file.

    Raises as `pipeline.backtest.run`.
    """
    order = task.order
    task.told("reading what was taken in", 0.0)
    readings = load_readings(task.serving.station)
    with transaction(task.serving.station.engine) as session:
        excluded = exclusions_at(session, task.job.dated)
    weather = believed(readings, WeatherPolicy.parse(order["weather_policy"]))
    for provider, period in excluded.items():
        until = period.until if period.until is not None else pd.Timestamp.max.tz_localize("UTC")
        refused = (weather[PROVIDER] == provider) & (weather[VALID_AT] >= period.since) & (weather[VALID_AT] < until)
        weather = weather[~refused]
    source = backtest.BacktestInput(readings.utility, readings.demand, weather)
    start, end = date.fromisoformat(order["start"]), date.fromisoformat(order["end"])
    made = backtest.run(source, start, end, order["forecaster"], task.told, order["seed"])
    left_out = [f"{name} is not believed from {period.since:%Y-%m-%d} on" for name, period in sorted(excluded.items())]
    _write_whole(made.predictions, task.folder / PREDICTIONS)
    return {"scores": made.scores, "notes": [*made.notes, *left_out], "predictions": len(made.predictions)}


def believed(readings: Readings, policy: WeatherPolicy) -> pd.DataFrame:
    """The weather a policy looks at. Raises PipelineError for a provider nobody knows."""
    if not policy.trusted_provider:
        return readings.weather
    require_provider(readings, policy.trusted_provider)
    return readings.weather[readings.weather[PROVIDER] == policy.trusted_provider]


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _write_whole(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    frame.to_parquet(draft, index=False)
    draft.replace(path)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        RETRAIN: Kind(retrain, alone=True),
        RECOVER: Kind(recover_from, alone=True),
        BACKTEST: Kind(try_on_the_past, alone=False),
    }
)
