"""The peers beside us on the same yardstick: `python -m benchmarks.peers_table [--year 2014]` (`make bench` runs it).

Each peer runs in its own environment (requirements/peers.txt), one after the other, on one thread. It is given files and
answers with files; only this side scores. CPU seconds and milliseconds; peak memory of the peer's process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from benchmarks.yardstick import ONE_THREAD, with_weather_error
from data.datasets import EmbeddedDataset, load_victoria
from data.schema import DEMAND_MW, TEMPERATURE_C, TIMESTAMP, days_between
from forecasting.forecaster import FORECAST_MW, QUANTILE_COLUMNS
from forecasting.metrics import score
from security.errors import GridwardError, UnavailableError

ROOT = Path(__file__).parents[1]
PEERS = ("mlforecast_peer", "skforecast_peer")
WEATHERS = ("A", "B")
HEADER = """\
| forecaster | weather | MAPE % | MAE MW | RMSE MW | pinball MW | cover 80 % | refit s | day ms | peak MB |
|---|---|---|---|---|---|---|---|---|---|"""


class PeerRefused(GridwardError):
    """A peer broke off, or did not answer every half hour that it was asked for."""


@dataclass(frozen=True, eq=False)
class PeerResult:
    """What a peer says of itself, and its forecasts by weather: index UTC, columns `forecast_mw`, `q10` … `q90` [MW]."""

    name: str
    settings: str
    refit_s: float
    day_ms: float
    memory_mb: float
    forecasts: dict[str, pd.DataFrame]


def export(dataset: EmbeddedDataset, days: list[date], folder: Path) -> None:
    """The yardstick's inputs as the peers read them (benchmarks/peers/protocol.py), both weathers of every day."""
    utility = dataset.utility
    frame = pd.DataFrame({DEMAND_MW: dataset.demand_mw, TEMPERATURE_C: dataset.temperature_c})
    frame.to_csv(folder / "series.csv")
    ahead = []
    for day in days:
        of_day = utility.day_index(day)
        realised = frame.loc[utility.gate_closure_of(day) : of_day[-1]]
        forecast = with_weather_error(realised, dataset, day)
        columns = {"day": day, "A": realised[TEMPERATURE_C], "B": forecast[TEMPERATURE_C]}
        ahead.append(pd.DataFrame(columns).assign(in_day=realised.index.isin(of_day)))
    pd.concat(ahead).to_csv(folder / "ahead.csv")
    calendar = {"timezone": utility.timezone, "holidays": sorted(day.isoformat() for day in utility.holidays)}
    (folder / "calendar.json").write_text(json.dumps(calendar))


def run(python: Path, peer: str, folder: Path) -> None:
    """One peer's round in its own environment. Raises UnavailableError, PeerRefused."""
    if not python.exists():
        raise UnavailableError("the peers' environment is missing", where=str(python), mend="run `make bench`")
    command = [str(python), "-m", f"benchmarks.peers.{peer}", str(folder)]
    environment = {**os.environ, **ONE_THREAD}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        last_words = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise PeerRefused(f"broke off: {last_words[0]}", where=peer)


def read_result(folder: Path, asked: pd.DatetimeIndex, peer: str) -> PeerResult:
    """A peer's answer. asked: every half hour that it must have forecast in either weather. Raises PeerRefused."""
    rows = pd.read_csv(folder / "predictions.csv")
    moments = pd.to_datetime(rows.pop(TIMESTAMP), utc=True).dt.as_unit("us")
    rows.index = pd.DatetimeIndex(moments, name=TIMESTAMP)
    forecasts = {weather: rows[rows["weather"] == weather].drop(columns="weather") for weather in WEATHERS}
    for weather, forecast in forecasts.items():
        if not forecast.index.equals(asked) or forecast[[FORECAST_MW, *QUANTILE_COLUMNS]].isna().to_numpy().any():
            raise PeerRefused("did not forecast every half hour once", where=f"{peer}, weather {weather}")
    return PeerResult(**json.loads((folder / "report.json").read_text()), forecasts=forecasts)


def table_rows(result: PeerResult, actual_mw: pd.Series) -> list[str]:
    """A Markdown row for each weather, under `HEADER`."""
    cost = f"{result.refit_s:.1f} | {result.day_ms:.0f} | {result.memory_mb:.0f}"
    rows = []
    for weather, forecast in result.forecasts.items():
        found = score(actual_mw, forecast)
        errors = f"{found['mape_percent']:.2f} | {found['mae_mw']:.1f} | {found['rmse_mw']:.1f}"
        spread = f"{found['pinball_mw']:.1f} | {found['cover_80_percent']:.1f}"
        rows.append(f"| {result.name} | {weather} | {errors} | {spread} | {cost} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--year", type=int, default=2014)
    parser.add_argument(
        "--python", type=Path, default=ROOT / ".venv-peers" / "bin" / "python", help="the peers' interpreter"
    )
    given = parser.parse_args()
    dataset = load_victoria()
    days = days_between(date(given.year, 1, 1), date(given.year, 12, 31))
    first, last = (dataset.utility.day_index(day) for day in (days[0], days[-1]))
    asked = pd.date_range(first[0], last[-1], freq=dataset.utility.step)
    print(f"Peers in their own environment, Victoria {given.year}, day ahead, refitted monthly; CPU time of one thread\n")
    print(HEADER)
    settings = []
    for peer in PEERS:
        with TemporaryDirectory() as folder:
            export(dataset, days, Path(folder))
            run(given.python, peer, Path(folder))
            result = read_result(Path(folder), asked, peer)
        print("\n".join(table_rows(result, dataset.demand_mw)), flush=True)
        settings.append(f"{result.name}: {result.settings}")
    print("\n" + "\n".join(settings))


if __name__ == "__main__":
    main()
