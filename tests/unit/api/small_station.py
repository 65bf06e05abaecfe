"""A station small enough to build in a second, and a way to ask its service without a network."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pandas as pd
from fastapi import FastAPI

from api.app import create_app
from data.schema import Utility
from pipeline.ingest import load_readings, set_utility, take_demand, take_weather
from pipeline.serving import Serving
from pipeline.settings import Settings
from pipeline.station import Station, open_station
from pipeline.train import TrainingOrder, train
from pipeline.weather_policy import WeatherPolicy
from security.identity import Role, issue_token

PROVIDERS = ("aurora", "boreas", "cirrus")
DAYS = 150
START = pd.Timestamp("2023-01-01", tz="UTC")
# The model learned from the days before this one; those from here on can be asked for.
LEARNED_DAYS = 140
FIRST_ASKED = (START + pd.Timedelta(days=LEARNED_DAYS)).date()
LAST_DAY = (START + pd.Timedelta(days=DAYS - 1)).date()
UTILITY = Utility(timezone="UTC", step=pd.Timedelta(hours=1))


def demand_and_weather(seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Demand that follows the temperature, and three providers' measurements and day-ahead forecasts of it."""
    random = np.random.default_rng(seed)
    index = pd.date_range(START, periods=DAYS * 24, freq="h", name="timestamp", unit="us")
    hour, day = index.hour.to_numpy(), np.arange(len(index)) / 24
    weather_noise = np.repeat(random.normal(0, 2, DAYS), 24)
    temperature = 15 + 8 * np.sin(2 * np.pi * day / 365) + 4 * np.sin(2 * np.pi * (hour - 9) / 24) + weather_noise
    demand_mw = (
        1000 + 15 * np.abs(temperature - 18) + 100 * np.sin(2 * np.pi * (hour - 6) / 24) + random.normal(0, 5, len(index))
    )
    demand = pd.DataFrame({"demand_mw": demand_mw, "available_at": index + UTILITY.step}, index=index)
    frames = []
    for number, name in enumerate(PROVIDERS):
        said = temperature + 0.2 * number + random.normal(0, 0.3, len(index))
        midnight = index.normalize()
        measured = {"issued_at": index + UTILITY.step, "temperature_c": said}
        forecast = {
            "issued_at": midnight - pd.Timedelta(hours=16),
            "temperature_c": said + random.normal(0, 0.5, len(index)),
        }
        frames += [pd.DataFrame({"provider": name, "valid_at": index, **kind}) for kind in (measured, forecast)]
    weather = pd.concat(frames)[["provider", "issued_at", "valid_at", "temperature_c"]]
    return demand, weather.sort_values(["provider", "valid_at", "issued_at"], ignore_index=True)


def settings_for(home: Path, **changes: Any) -> Settings:
    """Settings of a station at `home`."""
    return Settings(home=home, rate_limit_per_minute=10_000).model_copy(update=changes)


def order(policy: str = "multi-source", seed: int = 1) -> TrainingOrder:
    """Train on what was known when `FIRST_ASKED` began."""
    as_of = START + pd.Timedelta(days=LEARNED_DAYS)
    return TrainingOrder(WeatherPolicy.parse(policy), as_of, datetime(2023, 6, 1, tzinfo=UTC), by="fixture", seed=seed)


def build(home: Path, **changes: Any) -> Path:
    """A station with readings and one active main model, without a fallback."""
    station = open_station(settings_for(home, **changes))
    demand, weather = demand_and_weather()
    set_utility(station, UTILITY)
    take_demand(station, demand)
    take_weather(station, weather)
    train(station, load_readings(station), order())
    station.engine.dispose()
    return home


@dataclass(frozen=True)
class Service:
    """A copy of the small station with its service: ask it over ASGI."""

    station: Station
    serving: Serving
    app: FastAPI

    @classmethod
    def at(cls, built: Path, home: Path, **changes: Any) -> Service:
        """The service on a copy of `built` at `home`."""
        shutil.copytree(built, home)
        settings = settings_for(home, **changes)
        station = open_station(settings)
        serving = Serving(station)
        return cls(station, serving, create_app(serving, settings))

    def token(self, role: str, subject: str = "", **changes: Any) -> str:
        """A token as `gridward token` makes it."""
        arguments = {"lifetime": timedelta(minutes=5), "now": datetime.now(UTC), **changes}
        return issue_token(self.station.signers["token"], subject or f"{role}-1", Role(role), **arguments)

    def ask(
        self, method: str, path: str, *, role: str | None = None, token: str | None = None, **request: Any
    ) -> httpx.Response:
        """One request; `role`: as someone who has it."""
        return self.ask_together([(method, path)], role=role, token=token, **request)[0]

    def ask_together(
        self, asked: list[tuple[str, str]], *, role: str | None = None, token: str | None = None, **request: Any
    ) -> list[httpx.Response]:
        """Several requests at the same moment."""
        token = self.token(role) if role and not token else token
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **request.pop("headers", {})}
        address = request.pop("address", "192.0.2.1")
        answers: dict[int, httpx.Response] = {}

        async def run() -> None:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(address, 4711))
            async with httpx.AsyncClient(transport=transport, base_url="http://gridward") as client:

                async def one(number: int, method: str, path: str) -> None:
                    answers[number] = await client.request(method, path, headers=headers, **request)

                async with anyio.create_task_group() as group:
                    for number, (method, path) in enumerate(asked):
                        group.start_soon(one, number, method, path)

        anyio.run(run)
        return [answers[number] for number in range(len(asked))]


async def endless_body(chunks: int) -> AsyncIterator[bytes]:
    """A body without an announced length."""
    for _ in range(chunks):
        yield b" " * 4096
