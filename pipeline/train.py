"""Train: readings as known at one moment → frozen, signed snapshot → fitted forecaster → published, active model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from data.errors import NoTrustedWeather
from data.meters import demand_as_of
from data.provenance import record_snapshot
from data.schema import ISSUED_AT, TIMESTAMP, VALID_AT
from data.snapshots import Snapshot, freeze
from data.training_set import assemble
from data.weather_fusion import Profiles, known_at, known_at_gate_closures
from forecasting.ensemble import EnsembleForecaster, forecaster_named
from forecasting.prophet_forecaster import ProphetForecaster
from pipeline import registry
from pipeline.database import transaction
from pipeline.ingest import Readings
from pipeline.provider_standings import excluded, standings_at
from pipeline.publish import publish
from pipeline.station import Station, note
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


def train(station: Station, readings: Readings, order: TrainingOrder) -> registry.ModelRecord:
    """Train the main model on what was known at `order.as_of`, publish and activate it.

    Providers that stand quarantined or revoked at `order.at` are left out from their onset on.
    Raises NoTrustedWeather, TooLittleHistory.
    """
    wide = weather_known(readings, order.as_of)
    with transaction(station.engine) as session:
        excluded_from = excluded(standings_at(session, order.at))
    contract = draw_contract(wide, readings.utility, order.policy, excluded_from)
    return train_on(station, readings, demand_as_of(readings.demand, order.as_of), wide, contract, order)


def train_on(
    station: Station,
    readings: Readings,
    demand_mw: pd.Series,
    wide: pd.DataFrame,
    contract: WeatherContract,
    order: TrainingOrder,
) -> registry.ModelRecord:
    """Train the main model on this demand and weather under this contract, publish and activate it.

    What the same sources had forecast of the last year tells how far their forecasts can be trusted.
    """
    utility = readings.utility
    temperature, sources = temperature_by(contract, wide, utility)
    training = assemble(demand_mw, temperature, utility, order.as_of, _forecasts_as_issued(readings, contract, order.as_of))
    snapshot = _freeze(station, training, wide, contract, order, sources)
    forecaster = forecaster_named(station.forecaster, order.seed).fit(training, utility)
    return _publish_and_activate(station, forecaster, snapshot, contract, order, role="main")


def train_fallback(station: Station, readings: Readings, order: TrainingOrder) -> registry.ModelRecord:
    """Train the weather-free fallback, publish and activate it. It learns from demand alone."""
    demand = demand_as_of(readings.demand, order.as_of)
    nothing = pd.DataFrame(index=demand.index)
    contract = WeatherContract(order.policy, Profiles({}), {})
    training = assemble(demand, pd.Series(index=demand.index, dtype=float), readings.utility, order.as_of)
    snapshot = _freeze(station, training, nothing, contract, order, [])
    forecaster = ProphetForecaster(seed=order.seed).fit(training, readings.utility)
    return _publish_and_activate(station, forecaster, snapshot, contract, order, role="fallback")


def weather_known(readings: Readings, as_of: pd.Timestamp) -> pd.DataFrame:
    """What every provider said of the past by `as_of`: index UTC from the first reading on, one column a provider [°C]."""
    if readings.weather.empty:
        raise NoTrustedWeather("no provider delivered any weather", mend="check the providers' feeds, and the quarantine")
    start = readings.weather[VALID_AT].min()
    if as_of <= start:
        raise NoTrustedWeather(f"no weather was known on {as_of:%Y-%m-%d}", mend=f"train as of a day after {start:%Y-%m-%d}")
    return known_at(readings.weather, as_of, start, as_of - readings.utility.step, readings.utility.step)


def _forecasts_as_issued(readings: Readings, contract: WeatherContract, as_of: pd.Timestamp) -> pd.Series | None:
    """What had been forecast by each interval's own gate closure, as the contract makes it one; None without forecasts."""
    step = readings.utility.step
    index = pd.date_range(as_of - FORECASTS_LEARNED, as_of - step, freq=step, unit="us", name=TIMESTAMP)
    recent = readings.weather[(readings.weather[VALID_AT] >= index[0]) & (readings.weather[ISSUED_AT] <= as_of)]
    try:
        return temperature_by(contract, known_at_gate_closures(recent, readings.utility, index), readings.utility)[0]
    except NoTrustedWeather:
        return None


def _freeze(
    station: Station,
    training: pd.DataFrame,
    wide: pd.DataFrame,
    contract: WeatherContract,
    order: TrainingOrder,
    sources: list[str],
) -> Snapshot:
    facts = {"as_of": order.as_of.isoformat(), "weather": contract.to_json()}
    snapshot = freeze(station.snapshots, training, wide, facts, station.signers["snapshot"])
    last_used = {name: str(_last_used(wide, name, contract)) for name in sources}
    with transaction(station.engine) as session:
        record_snapshot(session, snapshot.snapshot_id, order.as_of.to_pydatetime(), last_used)
    return snapshot


def _last_used(wide: pd.DataFrame, name: str, contract: WeatherContract) -> pd.Timestamp:
    used = wide[name].dropna()
    if name in contract.excluded_from:
        used = used[used.index < contract.excluded_from[name]]
    return pd.Timestamp(used.index[-1])


def _publish_and_activate(
    station: Station,
    forecaster: EnsembleForecaster | ProphetForecaster,
    snapshot: Snapshot,
    contract: WeatherContract,
    order: TrainingOrder,
    role: str,
) -> registry.ModelRecord:
    facts: Mapping[str, object] = {
        "snapshot": snapshot.snapshot_id,
        "as_of": order.as_of.isoformat(),
        "seed": order.seed,
        "requested_by": order.by,
        # Ordered again, it is another publication: the registry takes back no model that it retired.
        "ordered_at": order.at.isoformat(),
        "weather": contract.to_json(),
    }
    model_id = publish(station, forecaster, facts)
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
    with transaction(station.engine) as session:
        registry.enter(session, record)
        activated = registry.activate(session, model_id)
    note(
        station,
        actor=order.by,
        action="model.activated",
        subject=model_id,
        details={"snapshot": snapshot.snapshot_id, "weather_policy": activated.weather_policy, "role": role},
        at=order.at,
    )
    return activated
