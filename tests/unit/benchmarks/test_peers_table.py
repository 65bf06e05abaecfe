"""The peers' side of the yardstick: what a peer is given, what of its answer is believed. No peer is installed here."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import peers_table
from benchmarks.peers.protocol import COLUMNS, Costs, Inputs, forecasts
from benchmarks.peers_table import PeerRefused, export, read_result, run, table_rows
from benchmarks.yardstick import with_weather_error
from data.datasets import EmbeddedDataset
from data.schema import DEMAND_MW, TEMPERATURE_C
from forecasting.day_grid import known_until_gate
from security.errors import UnavailableError

# The short and the long day of 2014 in Melbourne, a month's first day, an ordinary one.
DAYS = [date(2014, 4, 6), date(2014, 10, 1), date(2014, 10, 5), date(2014, 10, 6)]


class TruthfulPeer:
    """Knows the future, and writes down what it was shown."""

    package = "truth"
    intervals = "none"

    def __init__(self, truth_mw: pd.Series) -> None:
        self.truth_mw = truth_mw.set_axis(pd.DatetimeIndex(truth_mw.index).tz_localize(None))
        self.fitted_to: list[pd.Timestamp] = []
        self.shown: list[tuple[pd.Series, pd.DataFrame]] = []

    def fit(self, demand_mw: pd.Series, exogenous: pd.DataFrame) -> None:
        assert demand_mw.index.equals(exogenous.index)
        self.fitted_to.append(demand_mw.index[-1])

    def predict(self, demand_mw: pd.Series, ahead: pd.DataFrame) -> pd.DataFrame:
        self.shown.append((demand_mw, ahead))
        return pd.DataFrame(dict.fromkeys(COLUMNS, self.truth_mw.loc[ahead.index]))


@pytest.fixture(scope="module")
def exported(victoria: EmbeddedDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    export(victoria, DAYS, folder)
    return folder


@pytest.fixture(scope="module")
def inputs(exported: Path) -> Inputs:
    return Inputs.read(exported)


@pytest.fixture
def asked(victoria: EmbeddedDataset) -> pd.DatetimeIndex:
    return victoria.utility.day_index(DAYS[-1])


@pytest.fixture
def answered(victoria: EmbeddedDataset, asked: pd.DatetimeIndex, tmp_path: Path) -> Path:
    """A folder with a perfect answer for the last day, in weather A; 100 MW too high in weather B."""
    perfect = pd.DataFrame(dict.fromkeys(COLUMNS, victoria.demand_mw.loc[asked]), index=asked)
    pd.concat([perfect.assign(weather="A"), (perfect + 100).assign(weather="B")]).to_csv(tmp_path / "predictions.csv")
    report = {"name": "truth 1.0", "settings": "-", "refit_s": 1.25, "day_ms": 20.4, "memory_mb": 99.6}
    (tmp_path / "report.json").write_text(json.dumps(report))
    return tmp_path


def test_a_peer_knows_demand_up_to_half_past_eight_and_forecasts_from_nine(
    inputs: Inputs, victoria: EmbeddedDataset
) -> None:
    peer = TruthfulPeer(victoria.demand_mw)
    list(forecasts(peer, inputs, Costs()))
    for day, (demand_mw, ahead) in zip([day for day in DAYS for _ in "AB"], peer.shown, strict=True):
        gate = victoria.utility.gate_closure_of(day)
        assert gate.tz_convert("Australia/Melbourne").strftime("%H:%M") == "09:00"
        assert demand_mw.index[-1].tz_localize("UTC") == gate - pd.Timedelta(minutes=30)
        assert ahead.index[0].tz_localize("UTC") == gate
        assert ahead.index[-1].tz_localize("UTC") == victoria.utility.day_index(day)[-1]


def test_what_a_peer_fits_ends_at_the_gate_closure_of_the_months_first_day(
    inputs: Inputs, victoria: EmbeddedDataset
) -> None:
    peer = TruthfulPeer(victoria.demand_mw)
    costs = Costs()
    list(forecasts(peer, inputs, costs))
    assert peer.fitted_to == [pd.Timestamp("2014-09-29T22:30")]
    assert (len(costs.refit_s), len(costs.day_s)) == (1, 2 * len(DAYS))


def test_the_days_on_which_the_clocks_move_are_forecast_whole(inputs: Inputs, victoria: EmbeddedDataset) -> None:
    answers = pd.concat(forecasts(TruthfulPeer(victoria.demand_mw), inputs, Costs()))
    assert [len(rows) for _, rows in answers[answers["weather"] == "B"].groupby(_local_date)] == [50, 48, 46, 48]


def test_peers_see_the_weather_that_our_own_rows_see(inputs: Inputs, victoria: EmbeddedDataset) -> None:
    frame = pd.DataFrame({DEMAND_MW: victoria.demand_mw, TEMPERATURE_C: victoria.temperature_c})
    for day in DAYS:
        known = known_until_gate(frame, victoria.utility, day)
        ours = with_weather_error(known, victoria, day)[TEMPERATURE_C].iloc[-len(inputs.ahead[day]) :]
        assert inputs.ahead[day]["B"].to_numpy() == pytest.approx(ours.to_numpy(), abs=1e-9)
        assert inputs.ahead[day]["A"].to_numpy() == pytest.approx(known.loc[ours.index, TEMPERATURE_C].to_numpy(), abs=1e-9)


def test_a_hotter_evening_leaves_the_columns_of_the_morning_alone(inputs: Inputs) -> None:
    temperature_c = inputs.series["temperature_c"].iloc[:480]
    hotter = temperature_c.where(temperature_c.index < temperature_c.index[400], temperature_c + 10)
    before, after = inputs.exogenous(temperature_c), inputs.exogenous(hotter)
    pd.testing.assert_frame_equal(before.iloc[100:400], after.iloc[100:400])
    assert (after["temperature"].iloc[400:] == before["temperature"].iloc[400:] + 10).all()


def test_christmas_begins_at_midnight_in_melbourne(inputs: Inputs) -> None:
    columns = inputs.exogenous(inputs.series["temperature_c"].loc["2013-12-23":"2013-12-27"])
    christmas = columns.loc["2013-12-24T13:00":"2013-12-25T12:30"]
    assert (christmas["holiday"] == 1).all()
    assert christmas["slot"].tolist() == list(range(48))
    assert columns.loc["2013-12-24T12:30", ["holiday", "before_holiday"]].tolist() == [0, 1]
    assert columns.loc["2013-12-26T13:00", ["holiday", "after_holiday"]].tolist() == [0, 1]


def test_a_perfect_answer_has_no_error_and_a_wrong_one_has_its_own(
    answered: Path, asked: pd.DatetimeIndex, victoria: EmbeddedDataset
) -> None:
    in_a, in_b = table_rows(read_result(answered, asked, "truth"), victoria.demand_mw)
    assert in_a == "| truth 1.0 | A | 0.00 | 0.0 | 0.0 | 0.0 | 100.0 | 1.2 | 20 | 100 |"
    assert in_b.startswith("| truth 1.0 | B | ")
    assert in_b.endswith(" | 100.0 | 100.0 | 50.0 | 0.0 | 1.2 | 20 | 100 |")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda rows: rows.iloc[1:], id="first half hour missing"),
        pytest.param(lambda rows: rows[rows["weather"] == "A"], id="no weather B"),
        pytest.param(lambda rows: pd.concat([rows, rows.tail(1)]), id="one half hour twice"),
        pytest.param(lambda rows: rows.assign(q30=rows["q30"].where(rows.index > 3)), id="a quantile missing"),
    ],
)
def test_an_answer_with_holes_is_not_scored(answered: Path, asked: pd.DatetimeIndex, spoil) -> None:
    spoil(pd.read_csv(answered / "predictions.csv")).to_csv(answered / "predictions.csv", index=False)
    with pytest.raises(PeerRefused, match="did not forecast every half hour once"):
        read_result(answered, asked, "truth")


def test_a_peer_runs_alone_on_one_thread_in_its_own_interpreter(tmp_path: Path) -> None:
    interpreter = _fake_interpreter(tmp_path, 'echo "$* $OMP_NUM_THREADS" > "$3/called"')
    run(interpreter, "some_peer", tmp_path)
    assert (tmp_path / "called").read_text().split() == ["-m", "benchmarks.peers.some_peer", str(tmp_path), "1"]


def test_a_peer_that_breaks_off_is_quoted(tmp_path: Path) -> None:
    interpreter = _fake_interpreter(tmp_path, "echo 'Traceback'; echo 'ValueError: no trees' >&2; exit 3")
    with pytest.raises(PeerRefused, match="some_peer: broke off: ValueError: no trees"):
        run(interpreter, "some_peer", tmp_path)


def test_a_missing_environment_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="make bench"):
        run(tmp_path / "nowhere" / "python", "some_peer", tmp_path)


def test_the_whole_table_is_printed_with_versions_and_settings(
    tmp_path: Path, victoria: EmbeddedDataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "naive.py"
    program.write_text(NAIVE)
    interpreter = _fake_interpreter(tmp_path, f'exec "{sys.executable}" "{program}" "$3"')
    monkeypatch.setattr(peers_table, "PEERS", ("naive_peer",))
    monkeypatch.setattr(sys, "argv", ["peers_table", "--year", "2014", "--python", str(interpreter)])
    peers_table.main()
    printed = capsys.readouterr().out.splitlines()
    rows = [line for line in printed if line.startswith("| naive 2.5")]
    assert [row.split(" | ")[1] for row in rows] == ["A", "B"]
    year = slice(victoria.utility.day_index(date(2014, 1, 1))[0], None)
    relative_error = (victoria.demand_mw.shift(336) / victoria.demand_mw - 1).abs()[year]
    assert [row.split(" | ")[2] for row in rows] == 2 * [f"{relative_error.mean() * 100:.2f}"]
    assert printed[-1] == "naive 2.5: the same half hour last week"


# A peer in nothing but the standard library.
NAIVE = """
import csv, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
rows = list(csv.DictReader((folder / "series.csv").open()))
last_week = {row["timestamp"]: before["demand_mw"] for row, before in zip(rows[336:], rows)}
with (folder / "predictions.csv").open("w", newline="") as file:
    out = csv.writer(file)
    out.writerow(["timestamp", "forecast_mw", *(f"q{level}0" for level in range(1, 10)), "weather"])
    for row in csv.DictReader((folder / "ahead.csv").open()):
        if row["in_day"] == "True":
            for weather in "AB":
                out.writerow([row["timestamp"], *[last_week[row["timestamp"]]] * 10, weather])
report = {"name": "naive 2.5", "settings": "the same half hour last week", "refit_s": 0, "day_ms": 0, "memory_mb": 1}
(folder / "report.json").write_text(json.dumps(report))
"""


def _fake_interpreter(folder: Path, script: str) -> Path:
    interpreter = folder / "python"
    interpreter.write_text(f"#!/bin/sh\n{script}\n")
    interpreter.chmod(0o755)
    return interpreter


def _local_date(moment: pd.Timestamp) -> date:
    return moment.tz_localize("UTC").tz_convert("Australia/Melbourne").date()
