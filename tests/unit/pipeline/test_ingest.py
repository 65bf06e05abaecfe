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

from data.quarantine import quarantined_from
from data.schema import Utility
from data.simulation import Delivery, deliver
from data.weather_fusion import known_at
from data.weather_providers import ReportContent, UnverifiedReport, to_frame
from pipeline import ingest
from pipeline.database import transaction
from pipeline.ingest import Intake, load_readings, set_utility, take_demand, take_meter_readings, take_reports, take_weather
from pipeline.station import Station
from security.errors import UnavailableError
from security.keyring import register_key, revoke_keys_of
from security.signing import Signer, new_signer
from tests.unit.pipeline.small_incident import UTILITY, demand_of, true_temperature

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
    "where", ["in the middle of the batch", "writing the weather", "remembering the reports", "joining the values"]
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
        "joining the values": (ingest, "to_frame"),
        "writing the weather": (pd.DataFrame, "to_parquet"),
        "remembering the reports": (Path, "write_text"),
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


def test_cut_off_between_weather_and_memory_a_report_counts_twice_and_says_the_same(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = sent(said())
    move = Path.replace

    def stop_at_digests(path: Path, target: Path) -> Path:
        return cut_off() if target.name == "digests.txt" else move(path, target)  # type: ignore[return-value]  # raises

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", stop_at_digests)
        with pytest.raises(OSError, match="disk is full"):
            take_reports(station, report)
    once = weather(station)
    assert take_reports(station, report) == Intake(1, {})
    hours = (pd.Timestamp(NOON) - pd.Timedelta(hours=2), pd.Timestamp(NOON))
    moment = pd.Timestamp(NOON + timedelta(days=1))
    twice = known_at(weather(station), moment, *hours, UTILITY.step)
    pd.testing.assert_frame_equal(twice, known_at(once, moment, *hours, UTILITY.step))


def test_half_a_file_beside_the_readings_is_not_read(station: Station) -> None:
    take_reports(station, sent(said()))
    before = load_readings(station)
    for name in ("weather.parquet", "demand.parquet", "utility.json"):
        (station.readings / f"{name}.draft").write_bytes(b"PAR1")
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


def test_demand_taken_again_takes_the_place_of_the_former(station: Station) -> None:
    take_weather(station, to_frame([]))
    take_demand(station, DEMAND.iloc[:48])
    assert len(load_readings(station).demand) == 48


def test_a_station_without_readings_says_what_to_do(empty_station: Station) -> None:
    with pytest.raises(UnavailableError, match="gridward train") as refusal:
        load_readings(empty_station)
    assert str(empty_station.readings) in str(refusal.value)


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
    metered = take_meter_readings(empty_station, readings, UTILITY)
    set_utility(empty_station, UTILITY)
    take_weather(empty_station, to_frame([]))
    taken = load_readings(empty_station).demand
    assert metered.findings.duplicates == 1
    np.testing.assert_allclose(taken["demand_mw"], 3 * load_w / 1e6)
    assert (taken["available_at"] > taken.index + UTILITY.step).all()
