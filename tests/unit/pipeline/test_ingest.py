"""Readings come in whole, verified and once; what is refused is kept apart with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.errors import DataError
from data.lake import appending, heads
from data.meters import demand_as_of
from data.quarantine import quarantined_from
from data.schema import Utility
from data.simulation import Delivery, deliver
from data.weather_providers import ReportContent, UnverifiedReport, to_frame
from pipeline import ingest, meter_intake
from pipeline.database import transaction
from pipeline.errors import PipelineError
from pipeline.ingest import Intake, load_readings, set_utility, take_demand, take_reports, take_weather
from pipeline.initial import require_fresh
from pipeline.meter_intake import take_meter_readings
from pipeline.station import Station
from security.errors import UnavailableError
from security.keyring import register_key, revoke_keys_of
from security.signing import Signer, new_signer
from tests.unit.pipeline import small_incident
from tests.unit.pipeline.small_incident import UTILITY, demand_of, true_temperature

FIVE_MINUTES = pd.Timedelta(minutes=5)
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
SIGNERS = {name: new_signer() for name in ("aurora", "boreas")}
DEMAND = demand_of(true_temperature()).iloc[:240]


@pytest.fixture
def station(empty_station: Station) -> Station:
    """Two providers may deliver to it; demand is there already."""
    with transaction(empty_station.engine) as session:
        for name, signer in SIGNERS.items():
            register_key(
                session,
                purpose="provider",
                owner=name,
                public_key=signer.public_key,
                by="ann",
                reason="contract",
                at=NOON,
            )
    set_utility(empty_station, UTILITY)
    take_demand(empty_station, DEMAND)
    return empty_station


def said(provider: str = "aurora", day: int = 0, celsius: float | None = 12.5, **changes: Any) -> ReportContent:
    """Two hours measured, two announced."""
    issued_at = NOON + timedelta(days=day)
    content = ReportContent(
        format=1,
        provider=provider,
        issued_at=issued_at,
        step_minutes=60,
        observed_from=issued_at - timedelta(hours=2),
        observed_c=[celsius, celsius],
        forecast_from=issued_at,
        forecast_c=[celsius, None],
    )
    return content.model_copy(update=changes)


def sent(*contents: ReportContent, signers: dict[str, Signer] | None = None) -> list[UnverifiedReport]:
    deliveries: list[Delivery] = [(content.issued_at + timedelta(minutes=10), content) for content in contents]
    return deliver(deliveries, signers or SIGNERS)


def weather(station: Station) -> pd.DataFrame:
    return load_readings(station).weather


def reasons(station: Station, provider: str = "aurora") -> list[str]:
    with transaction(station.engine) as session:
        return [item.reason for item in quarantined_from(session, provider)]


def test_good_reports_can_be_read_value_by_value(station: Station) -> None:
    assert take_reports(station, sent(said(), said("boreas", celsius=13.0))) == Intake(2, {})
    frame = weather(station)
    assert frame["provider"].tolist() == ["aurora"] * 3 + ["boreas"] * 3
    assert frame["temperature_c"].tolist() == [12.5] * 3 + [13.0] * 3
    assert frame["valid_at"].tolist()[:3] == [pd.Timestamp(NOON + timedelta(hours=h)) for h in (-2, -1, 0)]
    assert (frame["issued_at"] == pd.Timestamp(NOON + timedelta(minutes=10))).all()


def test_later_reports_are_laid_beside_the_earlier_ones_in_order(station: Station) -> None:
    take_reports(station, sent(said("boreas"), said("aurora", day=1)))
    take_reports(station, sent(said("aurora", day=0)))
    frame = weather(station)
    ordered = frame.sort_values(["provider", "valid_at", "issued_at"], ignore_index=True)
    pd.testing.assert_frame_equal(frame, ordered)
    assert len(frame) == 9


def forged(report: UnverifiedReport) -> UnverifiedReport:
    return replace(report, signature=bytes(64))


def of_another(report: UnverifiedReport) -> UnverifiedReport:
    return replace(report, key_id=SIGNERS["boreas"].key_id)


def received(**later: int) -> Callable[[UnverifiedReport], UnverifiedReport]:
    return lambda report: replace(report, received_at=report.received_at + timedelta(**later))


def unchanged(report: UnverifiedReport) -> UnverifiedReport:
    return report


@pytest.mark.parametrize(
    ("content", "spoil", "reason"),
    [
        (said(), forged, "unauthentic"),
        (said(), of_another, "revoked"),
        (said(observed_c=[61.0]), unchanged, "invalid"),
        (said(step_minutes=1), unchanged, "invalid"),
        (said(), received(hours=-2), "from_the_future"),
        (said(), received(days=9), "too_old"),
    ],
)
def test_a_refused_report_is_quarantined_with_its_reason_and_never_kept(
    station: Station, content: ReportContent, spoil: Callable[[UnverifiedReport], UnverifiedReport], reason: str
) -> None:
    (bad,) = sent(content)
    good = sent(said("boreas"), said("aurora", day=-1))
    intake = take_reports(station, [good[0], spoil(bad), good[1]])
    assert intake == Intake(2, {reason: 1})
    assert reasons(station) == [reason]
    assert weather(station).groupby("provider").size().to_dict() == {"aurora": 3, "boreas": 3}
    assert not (weather(station)["valid_at"] == pd.Timestamp(NOON)).loc[weather(station)["provider"] == "aurora"].any()


def test_a_report_signed_by_one_and_written_as_another_is_misattributed(station: Station) -> None:
    (report,) = sent(said("boreas"), signers={"boreas": SIGNERS["aurora"]})
    assert take_reports(station, [replace(report, provider="aurora")]) == Intake(0, {"misattributed": 1})
    assert weather(station).empty


def test_nothing_of_a_provider_whose_key_was_revoked_is_taken(station: Station) -> None:
    with transaction(station.engine) as session:
        revoke_keys_of(session, "provider", "aurora", "ops", "compromised", NOON)
    assert take_reports(station, sent(said(), said("boreas"))) == Intake(1, {"revoked": 1})
    assert set(weather(station)["provider"]) == {"boreas"}


def test_the_same_report_is_taken_once_in_one_call_or_over_several(station: Station) -> None:
    report, other = sent(said(), said(day=1))
    assert take_reports(station, [report, report]) == Intake(1, {"replayed": 1})
    assert take_reports(station, [other, report]) == Intake(1, {"replayed": 1})
    assert take_reports(station, [report, other]) == Intake(0, {"replayed": 2})
    assert reasons(station) == ["replayed"] * 4
    assert len(weather(station)) == 6


def test_a_refused_report_may_be_delivered_again_in_order(station: Station) -> None:
    (report,) = sent(said())
    take_reports(station, [forged(report)])
    assert take_reports(station, [report]) == Intake(1, {})


def cut_off(*_: object, **__: object) -> None:
    raise OSError("the disk is full")


@pytest.mark.parametrize(
    "where",
    ["in the middle of the batch", "joining the values", "meaning to write", "writing the weather", "committing"],
)
def test_cut_off_anywhere_nothing_new_is_readable_and_all_of_it_can_be_delivered_again(
    station: Station, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    take_reports(station, sent(said("boreas", day=-1)))
    before = weather(station)
    first, bad, second = sent(said(), said("boreas"), said("boreas", day=1))
    batch = [first, forged(bad), second]

    def delivering() -> Iterable[UnverifiedReport]:
        yield from batch[:2]
        raise OSError("the line went dead")

    breaking: dict[str, tuple[object, str]] = {
        "joining the values": (ingest, "to_rows"),
        "meaning to write": (appending, "put"),
        "writing the weather": (appending, "settle"),
        "committing": (appending, "_commit"),
    }
    with monkeypatch.context() as broken:
        if where in breaking:
            broken.setattr(*breaking[where], cut_off)
        with pytest.raises(OSError, match="the disk is full" if where in breaking else "the line went dead"):
            take_reports(station, batch if where in breaking else delivering())

    pd.testing.assert_frame_equal(weather(station), before)
    assert reasons(station, "boreas") == []
    assert take_reports(station, batch) == Intake(2, {"unauthentic": 1})
    assert len(weather(station)) == len(before) + 6


def test_cut_off_after_the_commit_nothing_is_lost_and_a_report_that_comes_again_is_a_replay(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = sent(said(), said("boreas"))
    with monkeypatch.context() as broken:
        broken.setattr(heads, "acknowledge", cut_off)
        with pytest.raises(OSError, match="disk is full"):
            take_reports(station, [good, forged(bad)])
    assert weather(station)["provider"].tolist() == ["aurora"] * 3
    assert take_reports(station, [good, forged(bad)]) == Intake(0, {"replayed": 1, "unauthentic": 1})
    assert len(weather(station)) == 3


def test_half_a_file_beside_the_readings_is_not_read(station: Station) -> None:
    take_reports(station, sent(said()))
    before = load_readings(station)
    (station.readings / "utility.json.draft").write_bytes(b"{")
    (station.readings / "weather" / "_delta_log" / "_commit_1.json.tmp").write_bytes(b"{")
    after = load_readings(station)
    pd.testing.assert_frame_equal(after.weather, before.weather)
    pd.testing.assert_frame_equal(after.demand, before.demand)


def test_a_call_with_nothing_leaves_an_empty_weather_frame(station: Station) -> None:
    assert take_reports(station, []) == Intake(0, {})
    assert weather(station).empty
    pd.testing.assert_frame_equal(weather(station), to_frame([]), check_dtype=False)


def test_demand_and_utility_come_back_as_they_went_in(empty_station: Station) -> None:
    utility = Utility(
        "Australia/Melbourne",
        pd.Timedelta(minutes=15),
        gate_closure=time(10, 30),
        holidays=frozenset({date(2024, 1, 26), date(2023, 12, 25)}),
        demand_delay=pd.Timedelta(minutes=45),
    )
    set_utility(empty_station, utility)
    with_gap = DEMAND.assign(demand_mw=DEMAND["demand_mw"].mask(np.arange(len(DEMAND)) == 7))
    take_demand(empty_station, with_gap)
    take_weather(empty_station, to_frame([]))
    taken = load_readings(empty_station)
    assert taken.utility == utility
    pd.testing.assert_frame_equal(taken.demand, with_gap, check_freq=False)


def test_demand_that_comes_again_is_kept_once_and_a_correction_beside_what_it_corrects(station: Station) -> None:
    take_weather(station, to_frame([]))
    later = DEMAND.iloc[:3].assign(demand_mw=1.0, available_at=DEMAND["available_at"].iloc[:3] + pd.Timedelta(days=3))
    take_demand(station, pd.concat([DEMAND, later]))
    take_demand(station, DEMAND.iloc[:48])
    taken = load_readings(station).demand
    assert len(taken) == len(DEMAND) + 3
    assert demand_as_of(taken, DEMAND["available_at"].iloc[2]).iloc[0] == DEMAND["demand_mw"].iloc[0]
    assert demand_as_of(taken, later["available_at"].iloc[2]).iloc[:3].tolist() == [1.0] * 3


def test_demand_that_was_known_otherwise_at_the_same_moment_is_refused(station: Station) -> None:
    with pytest.raises(DataError, match="another than what was known"):
        take_demand(station, DEMAND.iloc[:2].assign(demand_mw=1.0))
    take_weather(station, to_frame([]))
    pd.testing.assert_frame_equal(load_readings(station).demand, DEMAND, check_freq=False)


def test_a_station_without_readings_says_what_to_do(empty_station: Station) -> None:
    with pytest.raises(UnavailableError, match="gridward train") as refusal:
        load_readings(empty_station)
    assert str(empty_station.readings) in str(refusal.value)


def metered(days: int, name: str, share: float) -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=24 * days, freq="h", tz="UTC", unit="us")
    load_w = 1e6 * (5 + np.sin(2 * np.pi * index.hour.to_numpy() / 24 + index.day_of_year.to_numpy()))
    frame = {
        "meter": name,
        "timestamp": index,
        "received_at": index + UTILITY.step + FIVE_MINUTES,
        "power_w": load_w * share,
    }
    return pd.DataFrame(frame)


def test_meter_readings_day_by_day_make_the_demand_that_they_make_at_once(empty_station: Station, tmp_path: Path) -> None:
    whole = pd.concat([metered(70, "north", 1.0), metered(70, "south", 2.0)], ignore_index=True)
    late = whole["timestamp"].between(pd.Timestamp("2024-03-05 10:00", tz="UTC"), pd.Timestamp("2024-03-05 14:00", tz="UTC"))
    whole["received_at"] += pd.to_timedelta(np.where(late & (whole["meter"] == "north"), 26, 0), unit="h")
    set_utility(empty_station, UTILITY)
    take_weather(empty_station, to_frame([]))
    received = whole["received_at"].dt.floor("D")
    take_meter_readings(empty_station, whole[received < pd.Timestamp("2024-03-01", tz="UTC")], UTILITY)
    for _, day in whole[received >= pd.Timestamp("2024-03-01", tz="UTC")].groupby(received):
        take_meter_readings(empty_station, day, UTILITY)
    by_days = load_readings(empty_station).demand
    at_once = small_incident.station_at(tmp_path / "at once")
    set_utility(at_once, UTILITY)
    take_weather(at_once, to_frame([]))
    take_meter_readings(at_once, whole, UTILITY)
    end = whole["timestamp"].max() + pd.Timedelta(days=9)
    for moment in (pd.Timestamp("2024-03-06", tz="UTC"), end):
        expected = demand_as_of(load_readings(at_once).demand, moment)
        np.testing.assert_allclose(demand_as_of(by_days, moment), expected, rtol=1e-6)
    at_once.engine.dispose()


@pytest.mark.parametrize("between", ["meters", "hours", "a rest of nine days"])
def test_meter_readings_in_any_pieces_end_in_the_demand_that_they_make_at_once(
    empty_station: Station, tmp_path: Path, between: str
) -> None:
    north, south = metered(70, "north", 1.0), metered(70, "south", 2.0)
    south["received_at"] += pd.Timedelta(minutes=10)
    whole = pd.concat([north, south], ignore_index=True)
    start = pd.Timestamp("2024-03-05", tz="UTC")
    pieces = {
        "meters": [
            whole[whole["received_at"] < start],
            north[north["received_at"] >= start],
            south[south["received_at"] >= start],
        ],
        "hours": [
            whole[whole["received_at"] < start],
            *(part for _, part in whole[whole["received_at"] >= start].groupby(whole["received_at"].dt.floor("7min"))),
        ][:60],
        "a rest of nine days": [whole[whole["timestamp"] < start - pd.Timedelta(days=9)], whole],
    }[between]
    sent = pd.concat(pieces).drop_duplicates()
    end = sent["received_at"].max() + pd.Timedelta(days=4)
    stations = {"pieces": empty_station, "at once": small_incident.station_at(tmp_path / "at once")}
    found = {}
    for name, station in stations.items():
        set_utility(station, UTILITY)
        take_weather(station, to_frame([]))
        for piece in pieces if name == "pieces" else []:
            take_meter_readings(station, piece, UTILITY)
        take_meter_readings(station, sent, UTILITY, complete_until=end)
        found[name] = demand_as_of(load_readings(station).demand, end)
    np.testing.assert_allclose(found["pieces"], found["at once"], rtol=1e-9)
    stations["at once"].engine.dispose()


def test_readings_that_were_kept_without_their_demand_are_summed_with_the_next_batch(
    empty_station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pd.concat([metered(70, "north", 1.0), metered(70, "south", 2.0)], ignore_index=True)
    start = pd.Timestamp("2024-03-05", tz="UTC")
    parts = [
        whole[whole["timestamp"] < start],
        whole[whole["timestamp"].dt.floor("D") == start],
        whole[whole["timestamp"] > start],
    ]
    set_utility(empty_station, UTILITY)
    take_weather(empty_station, to_frame([]))
    take_meter_readings(empty_station, parts[0], UTILITY)
    with monkeypatch.context() as broken:
        broken.setattr(meter_intake, "aggregate", cut_off)
        with pytest.raises(OSError, match="disk is full"):
            take_meter_readings(empty_station, parts[1], UTILITY)
    take_meter_readings(empty_station, parts[2], UTILITY)
    demand = load_readings(empty_station).demand
    assert demand.index.equals(pd.date_range(demand.index[0], demand.index[-1], freq="h"))
    assert demand["demand_mw"].notna().all()


def test_one_report_that_breaks_the_lakes_contract_keeps_no_other_out(station: Station) -> None:
    beyond = datetime(2099, 12, 31, 23, tzinfo=UTC)
    far = said(forecast_from=beyond, forecast_c=[1.0, 2.0, 3.0])
    assert take_reports(station, sent(far, said("boreas"))) == Intake(1, {"invalid": 1})
    assert reasons(station) == ["invalid"]
    assert set(weather(station)["provider"]) == {"boreas"}


def test_a_station_whose_utility_is_unknown_and_whose_lake_is_full_is_restored_and_not_trained_anew(
    station: Station,
) -> None:
    (station.readings / "utility.json").unlink()
    with pytest.raises(UnavailableError, match="restore it from a backup"):
        load_readings(station)
    with pytest.raises(PipelineError, match="holds readings already"):
        require_fresh(station)


def test_demand_that_contradicts_itself_is_refused(station: Station) -> None:
    twice = pd.concat([DEMAND.iloc[:1], DEMAND.iloc[:1].assign(demand_mw=1.0)])
    later = twice.assign(available_at=twice["available_at"] + pd.Timedelta(days=1))
    with pytest.raises(DataError, match="another than what was known"):
        take_demand(station, later)


def test_meter_readings_are_summed_mended_and_kept(empty_station: Station) -> None:
    index = pd.date_range("2024-01-01", periods=24 * 60, freq="h", tz="UTC", unit="us")
    load_w = 1e6 * (5 + np.sin(2 * np.pi * index.hour.to_numpy() / 24))
    parts = [
        pd.DataFrame(
            {
                "meter": name,
                "timestamp": index,
                "received_at": index + UTILITY.step + pd.Timedelta(minutes=5),
                "power_w": load_w * share,
            }
        )
        for name, share in (("north", 1.0), ("south", 2.0))
    ]
    readings = pd.concat([*parts, parts[0].iloc[[30]]], ignore_index=True)
    until = readings["received_at"].max() + pd.Timedelta(hours=1)
    metered = take_meter_readings(empty_station, readings, UTILITY, complete_until=until)
    set_utility(empty_station, UTILITY)
    take_weather(empty_station, to_frame([]))
    taken = load_readings(empty_station).demand
    assert metered.findings.duplicates == 1
    np.testing.assert_allclose(taken["demand_mw"], 3 * load_w / 1e6)
    assert (taken["available_at"] > taken.index + UTILITY.step).all()
