"""Which regime a day falls in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.datasets import EmbeddedDataset
from data.schema import Utility
from forecasting.regimes import (
    DAY_KINDS,
    REGIME_LEVELS,
    WEATHER_REGIMES,
    day_kind,
    day_means,
    weather_bounds,
    weather_regime,
)

SmallWorld = Callable[..., tuple[Utility, pd.DataFrame]]
BERLIN = Utility("Europe/Berlin", pd.Timedelta(hours=1), holidays=frozenset({date(2023, 5, 1), date(2023, 12, 24)}))
celsius = st.floats(-40, 45)


def series(values: list[float], start: str) -> pd.Series:
    return pd.Series(values, index=pd.date_range(start, periods=len(values), freq="h", tz="UTC", unit="us"))


def test_a_day_is_a_local_day() -> None:
    # 22:00 UTC is midnight in a Berlin summer.
    means = day_means(series([0.0] * 24 + [10.0] * 24, "2023-06-01T22:00"), BERLIN)
    assert means.to_dict() == {pd.Timestamp("2023-06-02"): 0.0, pd.Timestamp("2023-06-03"): 10.0}


def test_a_day_less_than_half_known_has_no_mean() -> None:
    means = day_means(series([5.0] * 24 + [9.0] * 11, "2023-06-01T22:00"), BERLIN)
    assert means.iloc[0] == 5
    assert np.isnan(means.iloc[1])


def test_the_day_of_25_hours_is_averaged_over_all_of_them(small_world: SmallWorld) -> None:
    utility, world = small_world()
    day = utility.day_index(date(2013, 10, 27))
    means = day_means(world["temperature_c"], utility)
    assert len(day) == 25
    assert means[pd.Timestamp("2013-10-27")] == pytest.approx(world["temperature_c"].loc[day].mean())


def test_the_shares_of_days_are_those_of_the_levels(victoria: EmbeddedDataset) -> None:
    utility = victoria.utility
    means = day_means(victoria.temperature_c, utility).to_numpy()
    codes = weather_regime(means, weather_bounds(victoria.temperature_c, utility))
    shares = np.bincount(codes, minlength=len(WEATHER_REGIMES)) / len(codes)
    assert shares == pytest.approx(np.diff([0, *REGIME_LEVELS, 1]), abs=2 / len(codes))


@given(
    st.lists(celsius, min_size=3, max_size=40), st.lists(celsius, min_size=1, max_size=10).map(sorted), st.floats(-30, 30)
)
@settings(deadline=None, max_examples=40)
def test_regimes_rise_with_temperature_and_do_not_mind_the_climate(
    history: list[float], days: list[float], shift_c: float
) -> None:
    def codes(shift: float) -> list[int]:
        reference = series(list(np.repeat(np.round(np.array(history) * 4) / 4 + shift, 24)), "2023-05-31T22:00")
        asked = np.round(np.array(days) * 4) / 4 + 0.1 + shift
        return weather_regime(asked, weather_bounds(reference, BERLIN)).tolist()

    found = codes(0.0)
    assert found == sorted(found)
    assert set(found) <= set(range(len(WEATHER_REGIMES)))
    assert codes(float(round(shift_c))) == found


def test_what_is_not_known_counts_as_mild() -> None:
    mild = WEATHER_REGIMES.index("mild")
    assert weather_regime(np.array([np.nan, 40.0]), (0.0, 10.0, 20.0)).tolist() == [mild, 3]
    nothing = weather_bounds(series([float("nan")] * 48, "2023-06-01T22:00"), BERLIN)
    assert np.isnan(nothing).all()
    assert weather_regime(np.array([-20.0, 40.0]), nothing).tolist() == [mild, mild]


def test_a_day_is_a_weekday_a_weekend_or_a_holiday_which_wins() -> None:
    days = [date(2023, 4, 28), date(2023, 4, 29), date(2023, 4, 30), date(2023, 5, 1), date(2023, 12, 24)]
    assert [DAY_KINDS[code] for code in day_kind(days, BERLIN)] == ["weekday", "weekend", "weekend", "holiday", "holiday"]
    assert day_kind([], BERLIN).tolist() == []
