"""The fused temperature stands while fewer than half of its sources lie, whatever they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import TEMPERATURE_C, TEMPERATURE_UNCERTAINTY_C, Utility
from data.trust.consensus import NO_WEIGHT_SPREADS
from data.weather_fusion import SOURCES, UNKNOWN_SPREAD_C, Profiles, bridged, fuse

UTILITY = Utility("Europe/Berlin", pd.Timedelta(hours=1))
NO_BIAS = Profiles({})
HOURS = 30
NAMES = ["a", "b", "c", "d", "e"]

celsius = st.floats(-40, 50, allow_nan=False)
anything = st.floats(-1e6, 1e6, allow_nan=False)


def rows(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(values, min_size=HOURS, max_size=HOURS)


def wide_of(columns: dict[str, list[float]]) -> pd.DataFrame:
    index = pd.date_range("2013-05-01", periods=HOURS, freq="h", tz="UTC", name="timestamp")
    return pd.DataFrame(columns, index=index, dtype=float)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), sources=st.integers(3, 5))
def test_fewer_than_half_cannot_move_the_fused_value_beyond_what_an_honest_one_might_say(data: st.DataObject, sources: int):
    liars = data.draw(st.integers(0, (sources - 1) // 2))
    names = data.draw(st.permutations(NAMES[:sources]))
    truth = data.draw(celsius)
    honest = st.floats(truth - 2 * UNKNOWN_SPREAD_C, truth + 2 * UNKNOWN_SPREAD_C)
    columns = {name: data.draw(rows(anything if number < liars else honest)) for number, name in enumerate(names)}
    wide = wide_of(columns)
    fused = fuse(wide, NO_BIAS, UTILITY, names)[TEMPERATURE_C]
    reach = NO_WEIGHT_SPREADS * UNKNOWN_SPREAD_C
    assert (fused >= wide[names[liars:]].min(axis=1) - reach).all()
    assert (fused <= wide[names[liars:]].max(axis=1) + reach).all()


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_the_order_of_the_providers_does_not_matter(data: st.DataObject):
    wide = wide_of({name: data.draw(rows(st.one_of(celsius, st.just(float("nan"))))) for name in NAMES[:4]})
    wide.iloc[0] = 1.0
    order = data.draw(st.permutations(list(wide.columns)))
    pd.testing.assert_frame_equal(
        fuse(wide[order], NO_BIAS, UTILITY, order), fuse(wide, NO_BIAS, UTILITY, NAMES), check_exact=True
    )


@settings(deadline=None, max_examples=40)
@given(data=st.data(), sources=st.integers(1, 5))
def test_another_source_never_makes_fusing_fail(data: st.DataObject, sources: int):
    wide = wide_of({name: data.draw(rows(st.one_of(anything, st.just(float("nan"))))) for name in NAMES[:sources]})
    wide.iloc[3, 0] = 20.0
    fused = fuse(wide, NO_BIAS, UTILITY, NAMES)
    more = fuse(wide.assign(new=data.draw(rows(anything))), NO_BIAS, UTILITY, [*NAMES, "new"])
    assert more[SOURCES].between(1, wide.notna().sum(axis=1) + 1).all()
    assert more[TEMPERATURE_C].notna().all()
    assert (more[TEMPERATURE_UNCERTAINTY_C] > 0).all()
    assert (fused[TEMPERATURE_UNCERTAINTY_C].dropna() > 0).all()


@settings(deadline=None, max_examples=60)
@given(values=rows(st.one_of(celsius, st.just(float("nan")))), step_hours=st.sampled_from([0.25, 0.5, 1.0]))
def test_bridging_keeps_what_is_known_and_stays_between_the_ends_of_a_gap(values: list[float], step_hours: float):
    series = pd.Series(values)
    whole = bridged(series, pd.Timedelta(hours=step_hours))
    known = series.notna()
    assert whole[known].equals(series[known])
    assert (whole.dropna() >= series.min() - 1e-9).all()
    assert (whole.dropna() <= series.max() + 1e-9).all()
    gap = whole.isna().to_numpy()
    starts = np.flatnonzero(gap & ~np.r_[False, gap[:-1]])
    for start in starts:
        length = int(np.argmin(np.r_[gap[start:], False]))
        at_an_end = start == 0 or start + length == HOURS
        assert at_an_end or length * step_hours > 6
