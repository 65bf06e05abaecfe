"""Train: readings as known at one moment → frozen, signed snapshot → fitted forecaster → candidate → in service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from data.errors import NoTrustedWeather
from data.lake.tables import FLAGGED
from data.meters import demand_as_of
from data.provenance import record_snapshot
from data.schema import ISSUED_AT, PROVIDER, TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, TIMESTAMP, VALID_AT
from data.snapshots import Snapshot, freeze
from data.training_set import assemble
from data.weather_fusion import Profiles, exclude, known_at, known_at_gate_closures
from forecasting.certified import CERTIFIED, CertifiedForecaster
from forecasting.ensemble import EnsembleForecaster, forecaster_named
from forecasting.model_files import Restorable
from forecasting.prophet_forecaster import ProphetForecaster
from forecasting.quantile_trees import QUANTILE_TREES, QuantileTreesForecaster
from pipeline import registry
from pipeline.database import transaction
from pipeline.ingest import Readings, flagged_values, with_newest_flags
from pipeline.promotion import activate_noted, promote_unattended
from pipeline.provider_standings import exclusions_at
from pipeline.publish import publish
from pipeline.station import Station, witness
from pipeline.weather_policy import WeatherContract, WeatherPolicy, draw_contract, temperature_by

# Half a year tells how wrong forecasts are, and is read in a moment.
FORECASTS_LEARNED = pd.Timedelta(days=182)


@dataclass(frozen=True)
class TrainingOrder:
    """What to train and on whose word. as_of: nothing known later is used; at: when it is ordered (both UTC)."""

    policy: WeatherPolicy
    as_of: pd.Timestamp
    at: datetime
    by: str
    seed: int = 1


@dataclass(frozen=True)
class Candidate:
    """A published model that is not in service yet. record: to be entered in the registry; fitted: the model in memory, as
    the bundle must answer; snapshot, contract: what it learned from and the weather it expects.
    """

    record: registry.ModelRecord
    fitted: Restorable
    snapshot: Snapshot
    contract: WeatherContract


def train(station: Station, readings: Readings, order: TrainingOrder) -> registry.ModelRecord:
    """Train the main model on what was known at `order.as_of`, publish it and put it in service.

    Providers that stand quarantined, revoked or on probation at `order.at` are left out from their onset on, and those that
    were trusted again, from the onset until then.
    Raises NoTrustedWeather, TooLittleHistory.
    """
    readings = with_newest_flags(station, readings)
    wide = weather_known(station, readings, order.as_of)
    with transaction(station.engine) as session:
        excluded = exclusions_at(session, order.at)
    contract = draw_contract(wide, readings.utility, order.policy, excluded)
    demand = demand_as_of(readings.demand, order.as_of)
    return put_in_service(station, train_candidate(station, readings, demand, wide, contract, order), order)


def train_candidate(
    station: Station,
    readings: Readings,
    demand_mw: pd.Series,
    wide: pd.DataFrame,
    contract: WeatherContract,
    order: TrainingOrder,
) -> Candidate:
    """Train the main model on this demand and weather under this contract, and publish it; it is not entered anywhere yet.

    The same readings, contract and order lead to the same snapshot and the same bundle. What the same sources had forecast
    of the last half year tells how far their forecasts can be trusted, and how uncertain they usually are.
    """
    training, sources = learnable(readings, demand_mw, wide, contract, order.as_of)
    snapshot = _freeze(station, readings, training, wide, contract, order, sources)
    forecaster = new_forecaster(station.forecaster, order.seed).fit(training, readings.utility)
    return _published(station, forecaster, snapshot, contract, order, role="main")


def new_forecaster(name: str, seed: int) -> EnsembleForecaster | CertifiedForecaster | QuantileTreesForecaster:
    """What a station trains, by the name in its settings."""
    if name == CERTIFIED:
        return CertifiedForecaster(seed=seed)
    if name == QUANTILE_TREES:
        return QuantileTreesForecaster(seed=seed)
    return forecaster_named(name, seed)


def learnable(
    readings: Readings, demand_mw: pd.Series, wide: pd.DataFrame, contract: WeatherContract, as_of: pd.Timestamp
) -> tuple[pd.DataFrame, list[str]]:
    """What the main model learns from at `as_of` under this contract (forecasting.forecaster), and the providers in it.

    Raises NoTrustedWeather.
    """
    measured, sources = temperature_by(contract, wide, readings.utility)
    forecast_c, uncertainty_c = _forecasts_as_issued(readings, contract, as_of)
    return assemble(demand_mw, measured[TEMPERATURE_C], readings.utility, as_of, forecast_c, uncertainty_c), sources


def train_fallback(station: Station, readings: Readings, order: TrainingOrder) -> registry.ModelRecord:
    """Train the weather-free fallback, publish it and put it in service. It learns from demand alone."""
    demand = demand_as_of(readings.demand, order.as_of)
    nothing = pd.DataFrame(index=demand.index)
    contract = WeatherContract(order.policy, Profiles({}), {})
    training = assemble(demand, pd.Series(index=demand.index, dtype=float), readings.utility, order.as_of)
    snapshot = _freeze(station, readings, training, nothing, contract, order, [])
    forecaster = ProphetForecaster(seed=order.seed).fit(training, readings.utility)
    return put_in_service(station, _published(station, forecaster, snapshot, contract, order, role="fallback"), order)


def put_in_service(station: Station, candidate: Candidate, order: TrainingOrder) -> registry.ModelRecord:
    """Enter a candidate and, where the station may promote by itself, put it in service at once, as the schedule does.

    Answers its record: a candidate still where operators have to approve it first.
    """
    model_id = candidate.record.model_id
    with transaction(station.engine) as session:
        registry.enter(session, candidate.record)
    if not promote_unattended(station, model_id, by=order.by, at=order.at):
        return candidate.record
    with transaction(station.engine) as session:
        activated = activate_noted(session, model_id, by=order.by, at=order.at)
    witness(station, order.at)
    return activated


def weather_known(station: Station, readings: Readings, as_of: pd.Timestamp) -> pd.DataFrame:
    """What every provider said of the past by `as_of`: index UTC from the first reading on, one column a provider [°C].

    NaN where levels 1 and 2 of the weather watch found a value that cannot be (AML.T0059).
    """
    if readings.weather.empty:
        raise NoTrustedWeather("no provider delivered any weather", mend="check the providers' feeds, and the quarantine")
    start = readings.weather[VALID_AT].min()
    if as_of <= start:
        raise NoTrustedWeather(f"no weather was known on {as_of:%Y-%m-%d}", mend=f"train as of a day after {start:%Y-%m-%d}")
    wide = known_at(readings.weather, as_of, start, as_of - readings.utility.step, readings.utility.step)
    for name, values in flagged_values(station, readings.pins.get(FLAGGED.name)).groupby(PROVIDER):
        if name in wide.columns:
            wide.loc[wide.index.isin(values[VALID_AT]), name] = np.nan
    return wide


def _forecasts_as_issued(
    readings: Readings, contract: WeatherContract, as_of: pd.Timestamp
) -> tuple[pd.Series | None, pd.Series | None]:
    """What had been forecast by each interval's own gate closure, as the contract makes it one, and its uncertainty [°C];
    None without forecasts.
    """
    step = readings.utility.step
    index = pd.date_range(as_of - FORECASTS_LEARNED, as_of - step, freq=step, unit="us", name=TIMESTAMP)
    recent = readings.weather[(readings.weather[VALID_AT] >= index[0]) & (readings.weather[ISSUED_AT] <= as_of)]
    try:
        told, _ = temperature_by(contract, known_at_gate_closures(recent, readings.utility, index), readings.utility)
    except NoTrustedWeather:
        return None, None
    return told[TEMPERATURE_C], told[TEMPERATURE_UNCERTAINTY_C]


def _freeze(
    station: Station,
    readings: Readings,
    training: pd.DataFrame,
    wide: pd.DataFrame,
    contract: WeatherContract,
    order: TrainingOrder,
    sources: list[str],
) -> Snapshot:
    utility = readings.utility
    facts = {
        "as_of": order.as_of.isoformat(),
        "weather": contract.to_json(),
        "utility": {
            "timezone": utility.timezone,
            "step_minutes": int(utility.step / pd.Timedelta(minutes=1)),
            "gate_closure": f"{utility.gate_closure:%H:%M}",
        },
        "lake": {table: pin.to_json() for table, pin in sorted(readings.pins.items())},
    }
    snapshot = freeze(station.snapshots, training, wide, facts, station.signers["snapshot"])
    used = exclude(wide[sources], contract.excluded)
    last_used = {name: str(used[name].last_valid_index()) for name in sources}
    with transaction(station.engine) as session:
        record_snapshot(session, snapshot.snapshot_id, order.as_of.to_pydatetime(), last_used)
    return snapshot


def _published(
    station: Station,
    forecaster: Restorable,
    snapshot: Snapshot,
    contract: WeatherContract,
    order: TrainingOrder,
    role: str,
) -> Candidate:
    facts: Mapping[str, object] = {
        "snapshot": snapshot.snapshot_id,
        "as_of": order.as_of.isoformat(),
        "seed": order.seed,
        "requested_by": order.by,
        # Ordered again, it is another publication: the registry takes back no model that it retired.
        "ordered_at": order.at.isoformat(),
        "settings": {"forecaster": forecaster.name, "role": role, "weather_policy": str(order.policy)},
        "weather": contract.to_json(),
    }
    model_id = publish(station, forecaster, role, snapshot.training, facts, {"snapshot": snapshot.digest})
    record = registry.ModelRecord(
        model_id=model_id,
        role=role,
        forecaster=forecaster.name,
        state=registry.CANDIDATE,
        snapshot_id=snapshot.snapshot_id,
        weather_policy=str(contract.policy) if role == "main" else "none",
        as_of=order.as_of.to_pydatetime(),
        published_at=order.at,
        published_by=order.by,
    )
    return Candidate(record, forecaster, snapshot, contract)
