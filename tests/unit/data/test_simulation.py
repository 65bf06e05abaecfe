"""The made-up meters and providers around the real series: exact sums, every fault that is promised, seeded."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest

from data import simulation
from data.datasets import EmbeddedDataset
from data.simulation import deliver, simulate_feeders, simulate_meter_readings, simulate_providers, simulate_reports
from data.weather_providers import ReportContent, decode
from security.signing import new_signer, verify_bytes

Reports = list[tuple[datetime, ReportContent]]


@pytest.fixture(scope="module")
def readings(victoria_2012: EmbeddedDataset) -> pd.DataFrame:
    return simulate_meter_readings(victoria_2012, seed=1)


@pytest.fixture(scope="module")
def wide(readings: pd.DataFrame, victoria_2012: EmbeddedDataset) -> pd.DataFrame:
    first = readings.drop_duplicates(["meter", "timestamp"])
    return first.pivot(index="timestamp", columns="meter", values="power_w").reindex(victoria_2012.demand_mw.index)


@pytest.fixture(scope="module")
def autumn(victoria: EmbeddedDataset) -> pd.Series:
    """A hundred days with the end of daylight saving on 1 April 2012."""
    return victoria.temperature_c.iloc[: 100 * 48]


@pytest.fixture(scope="module")
def reports(autumn: pd.Series, victoria: EmbeddedDataset) -> Reports:
    return simulate_reports(autumn, victoria.utility, simulate_providers(1), 1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_feeders_sum_to_the_real_demand_to_the_watt(victoria: EmbeddedDataset, seed: int):
    feeders = simulate_feeders(victoria, seed)
    assert feeders.dtype == np.int64
    assert feeders.shape == (len(victoria.demand_watts), simulation.FEEDERS)
    assert (feeders.sum(axis=1) == victoria.demand_watts.to_numpy()).all()
    assert (feeders > 0).all()


def test_readings_come_in_order_of_receipt_and_never_before_their_interval_ended(readings: pd.DataFrame):
    assert readings["received_at"].is_monotonic_increasing
    assert (readings["received_at"] >= readings["timestamp"] + pd.Timedelta(minutes=30)).all()


def test_some_readings_come_twice(readings: pd.DataFrame):
    again = readings.duplicated(["meter", "timestamp"])
    assert 0.001 < again.mean() < 0.004
    assert not readings.duplicated().any()


def test_some_readings_come_late_and_out_of_order(readings: pd.DataFrame):
    delay = readings["received_at"] - readings["timestamp"] - pd.Timedelta(minutes=30)
    assert 0.003 < (delay > pd.Timedelta(hours=6)).mean() < 0.008
    assert delay.max() <= pd.Timedelta(days=3, minutes=7)
    assert not readings["timestamp"].is_monotonic_increasing


def test_every_feeder_has_gaps(wide: pd.DataFrame):
    assert (wide.isna().sum() > 5).all()
    assert (wide.isna().mean() < 0.05).all()


def test_one_meter_a_year_sticks_for_a_day_or_more(wide: pd.DataFrame):
    same = wide.eq(wide.shift())
    longest = same.apply(lambda column: column.groupby((~column).cumsum()).sum().max())
    assert (longest >= 40).sum() == 1


def test_one_meter_a_year_sends_kilowatts_as_watts_for_five_days(wide: pd.DataFrame, victoria_2012: EmbeddedDataset):
    clean = simulate_feeders(victoria_2012, seed=1)
    slipped = np.abs(wide.to_numpy() * 1000 / clean[:, _feeder_numbers(wide)] - 1) < 1e-3
    assert (slipped.sum(axis=0) > 0).sum() == 1
    assert 200 <= slipped.sum() <= 240


def test_readings_with_no_fault_are_the_clean_ones(wide: pd.DataFrame, victoria_2012: EmbeddedDataset):
    clean = simulate_feeders(victoria_2012, seed=1)[:, _feeder_numbers(wide)]
    values = wide.to_numpy()
    known = np.isfinite(values)
    assert (values[known] == clean[known]).mean() > 0.99


def test_the_same_seed_gives_the_same_readings_and_another_seed_others(
    readings: pd.DataFrame, victoria_2012: EmbeddedDataset
):
    pd.testing.assert_frame_equal(simulate_meter_readings(victoria_2012, seed=1), readings)
    other = simulate_meter_readings(victoria_2012, seed=2)
    assert not other.head(1000).equals(readings.head(1000))


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_the_provider_that_the_utility_trusts_is_the_most_accurate(seed: int):
    first, *others = simulate_providers(seed)
    assert first.name == "aurora"
    assert all(first.noise_c <= other.noise_c and first.forecast_skill <= other.forecast_skill for other in others)
    assert len({other.name for other in others} | {first.name}) == 5
    assert simulate_providers(seed) == (first, *others)
    assert simulate_providers(seed + 1) != (first, *others)


def test_the_same_seed_gives_the_same_reports_and_another_seed_others(
    reports: Reports, autumn: pd.Series, victoria: EmbeddedDataset
):
    assert simulate_reports(autumn, victoria.utility, simulate_providers(1), 1) == reports
    assert simulate_reports(autumn, victoria.utility, simulate_providers(1), 2) != reports


def test_reports_come_in_order_and_before_their_gate_closure_on_every_day(reports: Reports, victoria: EmbeddedDataset):
    assert [at for at, _ in reports] == sorted(at for at, _ in reports)
    days = set()
    for at, content in reports:
        local = pd.Timestamp(at).tz_convert(victoria.utility.zone)
        closure = victoria.utility.gate_closure_of((local + pd.DateOffset(days=1)).date())
        assert content.issued_at <= at < closure
        assert pd.Timestamp(content.issued_at) == closure - pd.Timedelta(hours=1)
        days.add((content.provider, local.date()))
    assert len(days) == len(reports)
    assert {("aurora", date(2012, 3, 31)), ("aurora", date(2012, 4, 1)), ("eurus", date(2012, 4, 2))} <= days


def test_a_report_measures_the_day_before_it_and_forecasts_beyond_the_next_day(reports: Reports, victoria: EmbeddedDataset):
    _, content = reports[200]
    assert len(content.observed_c) == 48
    assert pd.Timestamp(content.observed_from) == pd.Timestamp(content.issued_at) - pd.Timedelta(hours=24)
    end = pd.Timestamp(content.forecast_from) + len(content.forecast_c) * victoria.utility.step
    next_day = pd.Timestamp(content.issued_at).tz_convert(victoria.utility.zone) + pd.DateOffset(days=1)
    assert end > victoria.utility.day_index(next_day.date())[-1]


def test_values_are_rounded_as_each_provider_rounds_and_some_are_missing(reports: Reports):
    rounding = {profile.name: profile.rounding_c for profile in simulate_providers(1)}
    gaps = dict.fromkeys(rounding, 0)
    for _, content in reports:
        known = np.array([value for value in content.observed_c + content.forecast_c if value is not None])
        steps = known / rounding[content.provider]
        assert np.abs(steps - np.round(steps)).max() < 1e-6
        gaps[content.provider] += content.observed_c.count(None)
    assert all(gaps.values())


def test_forecast_errors_grow_with_lead_time_and_are_mostly_shared(reports: Reports, autumn: pd.Series):
    errors: dict[str, list[np.ndarray]] = {"aurora": [], "boreas": []}
    for _, content in reports:
        if content.provider in errors and len(content.forecast_c) == 84:
            start = autumn.index.get_loc(pd.Timestamp(content.forecast_from))
            errors[content.provider].append(np.array(content.forecast_c) - autumn.to_numpy()[start : start + 84])
    aurora, boreas = (np.array(rows) - np.mean(rows) for rows in errors.values())
    assert aurora[:, 70:].std() > 1.5 * aurora[:, :12].std()
    assert np.corrcoef(aurora[:, 60], boreas[:, 60])[0, 1] > 0.5


def test_deliveries_carry_their_reports_signed_by_their_providers(reports: Reports):
    signers = {name: new_signer() for name in simulation.PROVIDER_NAMES}
    delivered = deliver(reports[:10], signers)
    for (at, content), delivery in zip(reports[:10], delivered, strict=True):
        assert (delivery.provider, delivery.received_at) == (content.provider, at)
        assert decode(delivery.payload, delivery.provider) == content
        verify_bytes(delivery.payload, delivery.signature, signers[content.provider].public_key)


def _feeder_numbers(wide: pd.DataFrame) -> list[int]:
    return [int(name.removeprefix("feeder-")) - 1 for name in wide.columns]
