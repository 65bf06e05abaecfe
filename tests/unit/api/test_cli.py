from __future__ import annotations

import hashlib
import logging
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import uvicorn

from api.commands.backtest import ForecasterName
from pipeline.backtest import FORECASTERS
from pipeline.errors import PipelineError
from pipeline.ingest import load_readings
from pipeline.registry import ModelRecord
from pipeline.settings import Settings
from pipeline.station import open_station
from tests.unit.api.commands import Run, runner
from tests.unit.api.small_station import LAST_DAY, demand_and_weather


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`gridward …` in this process."""

    return runner(monkeypatch, capsys)


@pytest.fixture
def home(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the small station that the environment points at."""
    shutil.copytree(built, tmp_path / "home")
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRIDWARD_HOME", str(tmp_path / "new"))
    return tmp_path / "new"


@pytest.fixture
def own_files(tmp_path: Path) -> list[str]:
    """Options that name the small station's readings as files of one's own."""
    demand, weather = demand_and_weather()
    demand["demand_mw"].rename_axis("timestamp").reset_index().to_csv(tmp_path / "demand.csv", index=False)
    options = ["--demand", str(tmp_path / "demand.csv"), "--timezone", "UTC"]
    for name, rows in weather.groupby("provider"):
        columns = rows.rename(columns={"valid_at": "timestamp"})[["timestamp", "issued_at", "temperature_c"]]
        columns.drop_duplicates(["timestamp", "issued_at"]).to_csv(tmp_path / f"{name}.csv", index=False)
        options += ["--weather", f"{name}={tmp_path / name}.csv"]
    return options


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """What `serve` does to the root logger is undone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_token_is_all_that_the_token_command_prints_and_its_issue_is_in_the_audit_log(run: Run, home: Path) -> None:
    outcome = run("token", "--role", "auditor", "--subject", "ida", "--minutes", "5")

    assert outcome.code == 0
    assert len(outcome.out.split()) == 1
    assert outcome.out.count(".") == 2
    assert outcome.err == ""
    assert b"access.granted" in (home / "gridward.sqlite").read_bytes() + (home / "gridward.sqlite-wal").read_bytes()
    assert run("audit", "verify").out.startswith("All of it holds")


@pytest.mark.parametrize(
    "arguments",
    [
        ["token", "--role", "boss", "--subject", "x"],
        ["token", "--role", "analyst", "--subject", " "],
        ["token", "--role", "analyst", "--subject", "x", "--minutes", "721"],
        ["forecast", "--day", "yesterday"],
        ["serve", "--port", "70000"],
        ["revoke", "boreas"],
        ["revoke", "boreas", "--reason", " "],
        ["trace", "provider", "boreas", "--since", "2023-01-01T00:00:00"],
        ["trace", "provider", "boreas", "--since", "spring"],
        ["backtest", "--start", "2024-02-02", "--end", "2024-02-01"],
        ["backtest", "--start", "2024-02-01", "--end", "2024-02-02", "--weather", "a=b"],
        ["train", "--timezone", "UTC"],
        ["conquer"],
    ],
)
@pytest.mark.usefixtures("home")
def test_wrong_usage_exits_2(run: Run, arguments: list[str]) -> None:
    outcome = run(*arguments)

    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err


@pytest.mark.usefixtures("home")
def test_a_forecast_is_printed_as_json_or_as_a_table(run: Run) -> None:
    as_json = run("forecast", "--day", str(LAST_DAY), "--json")
    as_table = run("forecast", "--day", str(LAST_DAY))

    assert (as_json.code, as_table.code) == (0, 0)
    assert len(as_json.json["intervals"]) == 24
    first = as_json.json["intervals"][0]
    row = next(line for line in as_table.out.splitlines() if f"{LAST_DAY} 00:00" in line)
    for value in (first["forecast_mw"], first["quantiles"]["0.1"], first["quantiles"]["0.9"]):
        assert f"{value:,.2f}" in row


@pytest.mark.usefixtures("home")
def test_a_forecast_explains_itself_in_parts_that_add_up(run: Run) -> None:
    told = run("forecast", "--day", str(LAST_DAY), "--explain", "--json").json
    for interval, parts in zip(told["intervals"], told["explanation"], strict=True):
        contributions = [value for name, value in parts.items() if name != "timestamp"]
        assert sum(contributions) == pytest.approx(interval["forecast_mw"], rel=1e-9)
    assert "recent demand" in run("forecast", "--day", str(LAST_DAY), "--explain").out


@pytest.mark.usefixtures("home")
def test_models_and_providers_are_listed(run: Run) -> None:
    models = run("models", "--json").json
    table = run("models").out

    assert models["active_model_id"] in table
    assert [model["state"] for model in models["models"]] == ["active"]
    assert [provider["name"] for provider in run("providers", "--json").json["providers"]] == ["aurora", "boreas", "cirrus"]
    assert "boreas" in run("providers").out


@pytest.mark.usefixtures("home")
def test_a_provider_is_revoked_from_the_console(run: Run) -> None:
    outcome = run("revoke", "boreas", "--reason", "lies", "--json")

    assert outcome.json["provider"] == "boreas"
    states = {view["name"]: view["state"] for view in run("providers", "--json").json["providers"]}
    assert states == {"aurora": "trusted", "boreas": "revoked", "cirrus": "trusted"}
    assert "cirrus is revoked" in run("revoke", "cirrus", "--reason", "lies too").out
    assert run("revoke", "nobody", "--reason", "x").code == 2


@pytest.mark.usefixtures("home")
def test_a_model_is_retrained_from_the_console(run: Run) -> None:
    before = run("models", "--json").json["active_model_id"]

    made = run("retrain", "--as-of-day", "2023-05-01", "--json").json
    assert made["published_by"] == "operator on the console"
    assert run("models", "--json").json["active_model_id"] == made["model_id"] != before
    assert "single:aurora" in run("retrain", "--weather-policy", "single:aurora").out
    assert run("retrain", "--weather-policy", "whatever").code == 2


def test_snapshots_are_listed_verified_and_restored(run: Run, home: Path, tmp_path: Path) -> None:
    (listed,) = run("snapshot", "list", "--json").json["snapshots"]
    name, out = listed["snapshot_id"], tmp_path / "restored"

    assert name in run("snapshot", "list").out
    assert name in run("snapshot", "verify", name).out
    assert run("snapshot", "verify", name, "--json").json["weather"]["policy"] == "multi-source"
    restored = run("snapshot", "restore", name, "--out", str(out), "--json").json
    assert restored["files"] == [str(out / "training.parquet"), str(out / "readings.parquet")]
    sealed = home / "snapshots" / name
    for file in ("training.parquet", "readings.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(out / file), pd.read_parquet(sealed / file))
    again = run("snapshot", "restore", name, "--out", str(out))
    assert (again.code, "already there" in again.err) == (2, True)
    assert run("snapshot", "restore", name, "--out", str(tmp_path / "b")).out.startswith("wrote ")


@pytest.mark.parametrize("name", ["0000000000000000", "../../keys", ""])
@pytest.mark.usefixtures("home")
def test_only_a_snapshot_in_the_ledger_is_opened(run: Run, name: str) -> None:
    outcome = run("snapshot", "verify", name)

    assert outcome.code == 2
    assert outcome.err.startswith("error: no snapshot ")


def test_an_altered_snapshot_exits_3_and_names_the_file(run: Run, home: Path) -> None:
    (listed,) = run("snapshot", "list", "--json").json["snapshots"]
    victim = home / "snapshots" / listed["snapshot_id"] / "training.parquet"
    victim.write_bytes(victim.read_bytes()[:-1] + b"\0")

    outcome = run("snapshot", "verify", listed["snapshot_id"])

    assert outcome.code == 3
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert "training.parquet" in outcome.err


def test_the_audit_log_is_verified_and_a_missing_witness_exits_5(run: Run, home: Path) -> None:
    # The releases founded, a model approved by two operators, and activated.
    verified = run("audit", "verify", "--json").json
    assert (verified["entries"], verified["tree_nodes"], len(verified["keys"])) == (4, 4, 1)

    (home / "audit-heads.jsonl").unlink()

    assert run("audit", "verify").code == 5


@pytest.mark.usefixtures("home")
def test_what_a_provider_touched_is_traced(run: Run) -> None:
    run("forecast", "--day", str(LAST_DAY))

    touched = run("trace", "provider", "boreas", "--since", "2023-02-01T00:00Z", "--json").json
    table = run("trace", "provider", "boreas", "--since", "2023-02-01T01:00+01:00").out

    assert (len(touched["snapshots"]), len(touched["models"]), len(touched["forecasts"])) == (1, 1, 1)
    assert touched["snapshots"][0] in table
    assert "since 2023-02-01 00:00 UTC" in table


@pytest.mark.usefixtures("home")
def test_a_forecast_is_traced_back_to_its_model_its_snapshot_and_what_is_thought_of_its_providers(run: Run) -> None:
    made = run("forecast", "--day", str(LAST_DAY), "--json").json
    run("revoke", "boreas", "--reason", "test")

    traced = run("trace", "forecast", made["forecast_id"], "--json").json
    table = run("trace", "forecast", made["forecast_id"]).out

    assert (traced["model_id"], traced["day"]) == (made["model_id"], str(LAST_DAY))
    assert traced["snapshot_id"] in table
    sources = {source["provider"]: source for source in traced["sources"]}
    assert (sources["boreas"]["then"], sources["boreas"]["now"]) == ("trusted", "revoked")
    assert sources["boreas"]["forecast"]
    assert "revoked" in table


@pytest.mark.usefixtures("home")
def test_readings_are_added_and_a_message_is_traced_to_what_learned_from_it(run: Run, tmp_path: Path) -> None:
    drawn, said = tmp_path / "demand.csv", tmp_path / "boreas.csv"
    drawn.write_text("timestamp,demand_mw\n2023-05-31T00:00Z,1000\n2023-05-31T01:00Z,1001\n2023-05-31T02:00Z,\n")
    said.write_text("timestamp,temperature_c,issued_at\n2023-05-31T00:00Z,14.5,\n2023-05-31T01:00Z,14.0,\n")

    added = run("ingest", "--demand", str(drawn), "--weather", f"boreas={said}", "--json").json
    again = run("ingest", "--demand", str(drawn), "--weather", f"boreas={said}").out
    digest = hashlib.sha256(said.read_bytes()).hexdigest()
    traced = run("trace", "delivery", digest, "--json").json
    table = run("trace", "delivery", digest).out

    assert (added["new"], added["corrections"], added["known"]) == (4, 0, 0)
    assert "POST /v1/models/reload" in again
    assert (traced["delivered"]["provider"], traced["delivered"]["readings"]) == ("boreas", 2)
    assert "2023-05-31 00:00 to 2023-05-31 01:00 UTC" in table
    assert run("trace", "delivery", "00").code == 2


@pytest.mark.usefixtures("home")
def test_readings_in_another_step_or_from_nowhere_are_refused(run: Run, tmp_path: Path) -> None:
    drawn = tmp_path / "demand.csv"
    drawn.write_text("timestamp,demand_mw\n2023-05-31T00:00Z,1000\n2023-05-31T00:30Z,1001\n2023-05-31T01:00Z,1001\n")
    refused = run("ingest", "--demand", str(drawn))
    assert refused.code == 2
    assert "steps of 30 minutes, the station has 60" in refused.err
    assert run("ingest").code == 2


@pytest.mark.usefixtures("home")
def test_a_forecast_that_was_never_made_cannot_be_traced(run: Run) -> None:
    outcome = run("trace", "forecast", "f-0000")
    assert outcome.code == 2
    assert "no forecast 'f-0000'" in outcome.err


@pytest.mark.usefixtures("empty_home")
def test_commands_that_need_a_model_say_how_to_get_one(run: Run) -> None:
    for command in (["serve"], ["models"], ["forecast", "--day", "2023-05-01"], ["ingest", "--weather", "a=b.csv"]):
        outcome = run(*command)

        assert outcome.code == 5
        assert "gridward train" in outcome.err
        assert outcome.err.count("\n") == 1


@pytest.mark.usefixtures("home")
def test_a_setting_that_cannot_be_used_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDWARD_RATE_LIMIT_PER_MINUTE", "secretly many")

    outcome = run("models")

    assert outcome.code == 2
    assert outcome.err.startswith("error: GRIDWARD_RATE_LIMIT_PER_MINUTE: ")
    assert "secretly" not in outcome.err


@pytest.mark.usefixtures("home")
def test_an_unexpected_error_is_one_line_and_its_origin_is_shown_on_request(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("api.commands.audit.verified_log", broken)

    outcome = run("audit", "verify")
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert outcome.err.startswith("error: ZeroDivisionError: two lines")
    assert not any(record.exc_info for record in caplog.records)

    assert run("--debug", "audit", "verify").code == 1
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.usefixtures("home")
def test_an_interrupted_command_exits_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("api.commands.audit.verified_log", interrupted)

    assert run("audit", "verify").code == 130


@pytest.mark.usefixtures("quiet_logging", "home")
def test_serve_announces_the_port_it_was_given_and_trusts_no_forwarded_header(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def record(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        seen.update(port=sockets[0].getsockname()[1], config=server.config)
        sockets[0].close()

    monkeypatch.setattr(uvicorn.Server, "run", record)

    outcome = run("serve", "--port", "0")

    assert outcome.code == 0
    assert outcome.json == {
        "event": "listening",
        "host": "127.0.0.1",
        "port": seen["port"],
        "address": f"http://127.0.0.1:{seen['port']}",
    }
    assert not seen["config"].proxy_headers
    assert not seen["config"].server_header


@pytest.mark.usefixtures("quiet_logging", "home")
def test_serve_acts_at_the_replayed_moment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def record(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        seen["clock"] = server.config.app.state.house.serving.clock()  # type: ignore[union-attr]  # our own app
        sockets[0].close()

    monkeypatch.setattr(uvicorn.Server, "run", record)
    monkeypatch.setenv("GRIDWARD_REPLAY_AT", "2023-05-30T09:00:00Z")

    run("serve", "--port", "0")

    assert pd.Timestamp(seen["clock"]) == pd.Timestamp("2023-05-30T09:00Z")


def test_a_tampered_model_stops_the_service_from_starting(run: Run, home: Path) -> None:
    (folder,) = (home / "models").iterdir()
    (folder / "intruder.txt").write_text("x")

    outcome = run("serve", "--port", "0")

    assert outcome.code == 3
    assert "intruder.txt" in outcome.err
    assert outcome.out == ""


@pytest.mark.usefixtures("home")
def test_a_port_that_is_taken_exits_5(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = run("serve", "--port", str(taken.getsockname()[1]))

    assert outcome.code == 5
    assert "cannot listen" in outcome.err
    assert outcome.out == ""


@pytest.mark.usefixtures("home")
def test_a_station_with_readings_is_not_filled_again(run: Run, own_files: list[str]) -> None:
    outcome = run("train", *own_files)

    assert outcome.code == 2
    assert "holds readings already" in outcome.err


def test_train_fills_a_fresh_station_from_files_of_ones_own(run: Run, empty_home: Path, own_files: list[str]) -> None:
    outcome = run("train", *own_files, "--json")

    assert outcome.code == 0, outcome.err
    assert outcome.json["models"][0]["role"] == "main"
    assert load_readings(open_station(Settings(home=empty_home))).utility.timezone == "UTC"
    assert run("models", "--json").json["active_model_id"] == outcome.json["models"][0]["model_id"]


def test_train_without_files_fills_the_station_from_the_embedded_data(
    run: Run, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what the command does is looked at: the real thing trains for half a minute."""
    seen: list[object] = []
    record = ModelRecord(
        model_id="m1",
        role="main",
        forecaster="lightgbm",
        state="active",
        snapshot_id="s1",
        weather_policy="single:aurora",
        as_of=pd.Timestamp("2013-01-01", tz="UTC").to_pydatetime(),
        published_at=pd.Timestamp("2013-01-01", tz="UTC").to_pydatetime(),
        published_by="test",
    )

    def build(station: Any, seed: int, policy: object, _: object) -> tuple[ModelRecord, None]:
        seen.extend([station.home, seed, str(policy)])
        return record, None

    monkeypatch.setattr("pipeline.initial.build_embedded_station", build)

    outcome = run("train", "--seed", "7", "--weather-policy", "single:aurora")

    assert outcome.code == 0, outcome.err
    assert seen == [empty_home, 7, "single:aurora"]
    assert "m1" in outcome.out


def test_a_backtest_on_files_of_ones_own_writes_predictions_and_scores(
    run: Run, tmp_path: Path, own_files: list[str]
) -> None:
    out = tmp_path / "predictions.csv"
    days = ["--start", "2023-05-28", "--end", "2023-05-29", "--forecaster", "seasonal-naive"]

    outcome = run("backtest", *own_files, *days, "--out", str(out), "--json")

    assert outcome.code == 0, outcome.err
    assert (outcome.json["predictions"], outcome.json["report"]) == (str(out), None)
    rows = pd.read_csv(out)
    quantiles = [f"q{level}0" for level in range(1, 10)]
    assert list(rows.columns) == ["origin", "timestamp", "actual_mw", "forecast_mw", *quantiles]
    assert len(rows) == 48
    error = (rows["forecast_mw"] - rows["actual_mw"]).abs().mean()
    assert outcome.json["scores"]["mae_mw"] == pytest.approx(error, abs=1e-3)
    assert [path.name for path in tmp_path.glob(".*")] == []
    table = run("backtest", *own_files, *days)
    assert "mape_percent" in table.out
    assert "note: 3 weather sources were fused" in table.out


def test_a_backtest_writes_a_report_on_request(run: Run, tmp_path: Path, own_files: list[str]) -> None:
    days = ["--start", "2023-05-28", "--end", "2023-05-29", "--forecaster", "seasonal-naive", "--jobs", "1"]

    outcome = run("backtest", *own_files, *days, "--report", str(tmp_path / "report.html"))

    assert outcome.code == 0, outcome.err
    assert f"wrote {tmp_path}/report.html" in outcome.out.replace("\n", "")
    assert "By lead time" in (tmp_path / "report.html").read_text("utf-8")
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.usefixtures("home")
def test_a_backtest_uses_every_usable_core_unless_told_otherwise(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def record(*_: object, jobs: int, **_others: object) -> None:
        seen.append(jobs)
        raise PipelineError("enough seen")

    monkeypatch.setattr("pipeline.backtest.run", record)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    days = ["--start", "2014-01-01", "--end", "2014-01-02"]

    run("backtest", *days)
    run("backtest", *days, "--jobs", "7")

    assert seen == [3, 7]
    assert run("backtest", *days, "--jobs", "0").code == 2


def test_a_backtest_says_that_mape_is_undefined_and_what_is_reported_instead(
    run: Run, tmp_path: Path, own_files: list[str]
) -> None:
    rows = pd.read_csv(tmp_path / "demand.csv")
    rows.loc[rows["timestamp"].str.startswith("2023-05-28 13"), "demand_mw"] = -3.0
    rows.to_csv(tmp_path / "demand.csv", index=False)
    days = ["--start", "2023-05-28", "--end", "2023-05-28", "--forecaster", "seasonal-naive"]

    outcome = run("backtest", *own_files, *days, "--json")

    assert outcome.json["scores"]["mape_percent"] is None
    assert outcome.json["scores"]["wape_percent"] > 0
    assert "MAPE is undefined: wape_percent stands in its place" in outcome.json["notes"][-1]


def test_a_backtest_offers_every_forecaster_there_is() -> None:
    assert {name.value for name in ForecasterName} == set(FORECASTERS)


def test_a_backtest_without_files_takes_the_embedded_data_and_says_it_is_perfect_foresight(run: Run) -> None:
    outcome = run("backtest", "--start", "2014-11-20", "--end", "2014-11-21", "--forecaster", "seasonal-naive", "--json")

    assert outcome.code == 0, outcome.err
    assert outcome.json["timezone"] == "Australia/Melbourne"
    assert "perfect foresight" in outcome.json["notes"][0]
    assert 0 < outcome.json["scores"]["mape_percent"] < 30


def test_a_certified_backtest_writes_its_certificate_beside_each_forecast_and_says_what_it_means(
    run: Run, tmp_path: Path
) -> None:
    days = ["--start", "2014-11-20", "--end", "2014-11-21", "--forecaster", "certified", "--out", f"{tmp_path}/preds.csv"]
    outcome = run("backtest", *days, "--json")

    assert outcome.code == 0, outcome.err
    rows = pd.read_csv(tmp_path / "preds.csv")
    assert list(rows.columns[-2:]) == ["lower_mw", "upper_mw"]
    assert rows["forecast_mw"].between(rows["lower_mw"], rows["upper_mw"]).all()
    assert any("2 weeks of the training data were malicious" in note for note in outcome.json["notes"])


@pytest.mark.usefixtures("empty_home")
def test_training_needs_weather_and_says_when_it_holds_no_forecasts(run: Run, tmp_path: Path, own_files: list[str]) -> None:
    assert run("train", *own_files[:4]).code == 2

    realised = pd.read_csv(tmp_path / "aurora.csv").sort_values("issued_at").drop_duplicates("timestamp", keep="last")
    realised[["timestamp", "temperature_c"]].to_csv(tmp_path / "realised.csv", index=False)
    outcome = run("train", *own_files[:4], "--weather", f"past={tmp_path}/realised.csv")

    assert outcome.code == 0, outcome.err
    assert "note: weather past holds no forecasts" in outcome.out


def test_a_backtest_says_where_it_cannot_write_before_it_computes(run: Run, tmp_path: Path, own_files: list[str]) -> None:
    days = ["--start", "2023-05-28", "--end", "2023-05-29"]

    for option in ("--out", "--report"):
        outcome = run("backtest", *own_files, *days, option, str(tmp_path / "nowhere" / "p"))

        assert outcome.code == 2
        assert "the folder does not exist" in outcome.err
        assert f"choose another {option}" in outcome.err


def test_the_case_study_empties_no_folder_that_is_not_its_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    for place in (tmp_path, tmp_path / "thesis.txt"):
        outcome = run("case-study", "--out", str(place))

        assert outcome.code == 2
        assert "no case-study folder" in outcome.err
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
